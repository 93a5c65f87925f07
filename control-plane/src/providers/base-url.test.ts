import { describe, expect, test } from 'vitest'
import { isRefusal } from '../../../proto/std/refusal.js'
import { parseBaseUrl } from './base-url.js'

describe('a base URL', () => {
  test.each([
    ['https://api.openai.com/v1', 'https://api.openai.com/v1'],
    ['https://api.openai.com/v1///', 'https://api.openai.com/v1'],
    [' http://vllm:8000/v1 ', 'http://vllm:8000/v1'],
    ['http://localhost:11434', 'http://localhost:11434'],
    ['http://10.1.2.3:8000/v1/', 'http://10.1.2.3:8000/v1'],
    ['http://[fd12::1]:8000/v1', 'http://[fd12::1]:8000/v1'],
    ['HTTPS://API.Example.com:443/v1', 'https://api.example.com/v1'],
  ])('%s is stored as %s', (text, stored) => {
    expect(parseBaseUrl(text)).toBe(stored)
  })

  test.each([
    ['ftp://example.com', 'https://'],
    ['file:///etc/passwd', 'https://'],
    ['api.openai.com/v1', 'URL'],
    ['', 'URL'],
    ['https://user:secret@example.com/v1', 'credential'],
    ['https://example.com/v1?key=1', 'query'],
    ['https://example.com/v1?', 'query'],
    ['https://example.com/v1#top', 'fragment'],
    [`https://example.com/${'a'.repeat(600)}`, '512'],
    ['http://169.254.169.254/latest/meta-data', 'metadata'],
    ['http://0xa9fea9fe/latest', 'metadata'],
    ['http://2852039166/', 'metadata'],
    ['http://[::ffff:169.254.169.254]/', 'metadata'],
    ['http://[fe80::1]/v1', 'metadata'],
    ['http://[fd00:ec2::254]/', 'metadata'],
    ['http://metadata.google.internal/computeMetadata', 'metadata'],
    ['http://metadata.google.internal./', 'metadata'],
    ['http://0.0.0.0:8000/v1', 'metadata'],
  ])('%s is refused with a word about %s', (text, word) => {
    const refusal = parseBaseUrl(text)
    expect(isRefusal(refusal) && refusal.message).toContain(word)
  })
})

import { expect, test } from 'vitest'
import type { Conversation, ImagePart } from '../../conversation/conversation.js'
import { Losses } from '../../conversation/losses.js'
import { contentsOf } from './write-contents.js'

function write(image: Partial<ImagePart>) {
  const part: ImagePart = {
    ...{ type: 'image', at: 'messages[0].content[0]', detail: null },
    ...{ source: { kind: 'url', url: 'https://x/a.PNG?b.gif' }, ...image },
  }
  const turns: Conversation['turns'] = [{ role: 'user', at: 'messages[0]', parts: [part] }]
  const losses = new Losses()
  const contents = contentsOf({ turns } as Conversation, 3, losses)
  return { parts: contents.flatMap(({ parts }) => parts), losses: losses.all.map(({ field }) => field) }
}

test('an image is of the type that its address ends in', () => {
  expect(write({})).toEqual({
    parts: [{ fileData: { mimeType: 'image/png', fileUri: 'https://x/a.PNG?b.gif' } }],
    losses: [],
  })
})

test.each(['constructor', 'valueOf', 'toString'])('what every object has is no type: .%s', (extension) => {
  const source = { kind: 'url', url: `https://x/a.${extension}` } as const
  expect(write({ source })).toEqual({ parts: [], losses: ['messages[0].content[0]'] })
})

test.each(['__proto__', 'constructor', 'medium'])('a detail nobody knows is left out and told: %s', (detail) => {
  expect(write({ detail })).toMatchObject({
    parts: [{ fileData: { mimeType: 'image/png' } }],
    losses: ['messages[0].content[0].detail'],
  })
  expect(JSON.stringify(write({ detail }).parts)).not.toContain('mediaResolution')
})

import { test } from 'vitest'
import { expectBooksAgree } from './expect-books-agree.js'

// A file per backend, so that the two run side by side.
test(
  'kill -9 under load, BullMQ on redis: one record per accepted request, the right tokens',
  { timeout: 600_000 },
  () => expectBooksAgree('redis'),
)

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { classifyPrompt, promptClasses, promptClassSaid } from './classify-prompt.js'
import { complexitySignals, estimateComplexity } from './estimate-complexity.js'
import { estimateTokens } from './estimate-tokens.js'
import { MeasuredPrompt } from './measured-prompt.js'
import { bothEndsOf, readSigns, signsCharactersMax } from './text-signs.js'

const alone = { turnCount: 1, toolCount: 0 }
const complexityOf = (text: string, shape = alone) => estimateComplexity(readSigns(text), shape)

const easy = [
  'Hi!',
  'What is the capital of France?',
  'Translate "good morning" to Spanish.',
  'When does the shop open tomorrow?',
  'Write a friendly birthday message for my sister Anna.',
  'Summarize the following report in five bullet points, then list the open questions:\n- revenue fell in March\n- two suppliers left\n- the new line starts in June',
]
const middling = [
  'Write a Python function that reads a CSV file and returns the sum of a column. Explain why you chose that structure.',
  'Compare the two offers and explain which one we should take. What are the pros and cons? What would change your mind?',
]
const hard = [
  `Prove that the sum of the first n odd numbers is n^2, step by step. First derive the formula by induction, then give a
geometric argument. Finally compare both proofs: which assumptions does each need, and why? What happens for n = 0?
1. state the theorem
2. show the base case n = 1
3. show that a_n + (2*n + 1) = (n + 1)^2`,
  `Our checkout service times out under load. Analyse the stacktrace and the code below, reason about the root cause, design
a fix and evaluate its trade-offs.
\`\`\`ts
async function pay(order: Order) {
  const lock = await locks.take(order.id);
  const result = await gateway.charge(order.total + order.tax);
  return result;
}
\`\`\`
First explain the failure, then propose two alternatives, compare them, and finally write the tests. Why did the retry not
help? What are the implications for the API? Which constraint did we miss?`,
]

describe('estimated complexity', () => {
  test.each(easy)('easy: %s', (text) => {
    expect(complexityOf(text)).toBeLessThan(0.3)
  })
  test.each(middling)('middling: %s', (text) => {
    const score = complexityOf(text)
    expect(score).toBeGreaterThanOrEqual(0.3)
    expect(score).toBeLessThan(0.7)
  })
  test.each(hard)('hard: %s', (text) => {
    expect(complexityOf(text)).toBeGreaterThanOrEqual(0.7)
  })

  test('turns and tools make it harder', () => {
    const text = 'What next?'
    expect(complexityOf(text, { turnCount: 12, toolCount: 0 })).toBeGreaterThan(complexityOf(text))
    expect(complexityOf(text, { turnCount: 1, toolCount: 8 })).toBeGreaterThan(complexityOf(text))
  })

  test('is between 0 and 1, the same twice, and no signal lowers it', () => {
    const count = fc.nat({ max: 10_000 })
    const signs = fc.record({
      ...{ characterCount: count, wordCount: count, questionCount: count, reasoningCount: count, codeCount: count },
      ...{ mathCount: count, stepCount: count, summaryCount: count, extractionCount: count, translationCount: count },
    })
    const members = ['wordCount', 'questionCount', 'reasoningCount', 'codeCount', 'mathCount', 'stepCount'] as const
    fc.assert(
      fc.property(signs, fc.constantFrom(...members), fc.nat({ max: 500 }), (some, member, more) => {
        const score = estimateComplexity(some, alone)
        expect(score).toBeGreaterThanOrEqual(0)
        expect(score).toBeLessThanOrEqual(1)
        expect(estimateComplexity({ ...some, [member]: some[member] + more }, alone)).toBeGreaterThanOrEqual(score)
      }),
      { seed: 5 },
    )
    expect(complexitySignals.every(({ weight }) => weight > 0 && weight < 1)).toBe(true)
  })
})

describe('the class of a prompt', () => {
  test.each([
    ['summarisation', 'Please summarize this article about ships: it was a long day at sea …'],
    ['summarisation', 'Fasse den folgenden Text zusammen: Das Schiff lief am Morgen aus.'],
    ['translation', 'Translate the following to German: the ship left in the morning'],
    ['translation', 'Traduis cette phrase en anglais'],
    ['extraction', 'Extract all names and dates from the text below.'],
    [
      'translation',
      `${'The ship left in the morning and nobody knew where to. '.repeat(20)}\nTranslate this to French.`,
    ],
    ['code', 'Write a TypeScript function that returns the larger of two numbers, with a unittest in python and sql'],
    ['code', '```js\nconst a = 1;\n```\nwhat is wrong here'],
    ['reasoning', 'Why did the empire fall? Compare two theories.'],
    ['reasoning', 'Solve x^2 + 3*x = 10 for x'],
    ['chat', 'How are you today?'],
    ['chat', '你好,今天天气怎么样?'],
    ['other', ''],
    ['other', `${'ship sea harbour '.repeat(200)}`],
  ])('%s: %s', (expected, text) => {
    expect(classifyPrompt(readSigns(text))).toBe(expected)
  })

  test('a client may say it, in the known words only', () => {
    expect(promptClassSaid('code')).toBe('code')
    for (const said of [undefined, '', 'Code', 'code ', 'constructor', 'x'.repeat(5_000)]) {
      expect(promptClassSaid(said)).toBeNull()
    }
    const shape = () => ({ newestText: () => 'How are you?', textBytes: 12, turnCount: 1, toolCount: 0, imageCount: 0 })
    expect(new MeasuredPrompt(shape, 'reasoning').promptClass()).toBe('reasoning')
    expect(new MeasuredPrompt(shape).promptClass()).toBe('chat')
  })

  test('any text has one, and the scan is bounded', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        const signs = readSigns(text)
        expect(promptClasses).toContain(classifyPrompt(signs))
        for (const value of Object.values(signs)) expect(Number.isInteger(value) && value >= 0).toBe(true)
      }),
      { seed: 9, numRuns: 500 },
    )
    expect(readSigns('why '.repeat(100_000)).characterCount).toBe(signsCharactersMax + 1)
  })
})

test('of many texts no more is asked for than is looked at, and it is what is looked at of them joined', () => {
  const texts = fc.array(fc.integer({ min: 0, max: 9_000 }), { maxLength: 8 })
  fc.assert(
    fc.property(texts, (lengths) => {
      const said = lengths.map((length, index) => `${index} `.repeat(length))
      const whole = said.filter((text) => text !== '').join('\n')
      expect(readSigns(bothEndsOf(said.length, (index) => said[index] ?? ''))).toEqual(readSigns(whole))
    }),
    { seed: 3 },
  )
  const asked: number[] = []
  bothEndsOf(1_000, (index) => {
    asked.push(index)
    return 'x'.repeat(5_000)
  })
  expect(asked).toEqual([999, 998, 997, 996, 0, 1])
})

describe('estimated tokens', () => {
  test.each([
    ['nothing', { textBytes: 0, turnCount: 0, toolCount: 0, imageCount: 0 }, 0],
    ['a word', { textBytes: 5, turnCount: 1, toolCount: 0, imageCount: 0 }, 6],
    ['an image and a tool', { textBytes: 400, turnCount: 1, toolCount: 1, imageCount: 1 }, 100 + 4 + 8 + 765],
  ])('%s', (_, size, expected) => {
    expect(estimateTokens(size)).toBe(expected)
  })
})

test('a prompt is looked at when something is asked, and once', () => {
  let looked = 0
  const prompt = new MeasuredPrompt(() => {
    looked += 1
    return { newestText: () => 'Why?', textBytes: 4, turnCount: 1, toolCount: 0, imageCount: 0 }
  })
  expect(looked).toBe(0)
  expect([prompt.complexity(), prompt.complexity()]).toEqual([prompt.complexity(), prompt.complexity()])
  prompt.promptClass()
  prompt.tokensIn()
  expect(looked).toBe(1)
})

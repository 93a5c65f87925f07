import { type Browser, chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ControlPlane } from '../../control-plane/src/control-plane.js'
import { loadSettings } from '../../control-plane/src/settings.js'
import { systemClock } from '../../proto/std/clock.js'
import type { Log } from '../../proto/std/service.js'
import { testChromium } from '../harness/chromium.js'
import { type TestDatabase, testDatabase } from '../harness/postgres.js'

const adminToken = 'an-admin-token-of-at-least-32-characters'
const quiet: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => quiet }
const found = testChromium()
const skipped = 'missing' in found ? ` (no Chromium: ${found.missing})` : ''

/** Wants a Chromium of the machine or one that can be fetched; without one it is skipped, visibly. */
describe.skipIf(skipped !== '')(`the explorer in a real browser${skipped}`, () => {
  let database: TestDatabase
  let plane: ControlPlane
  let browser: Browser

  beforeAll(async () => {
    database = await testDatabase()
    const ports = ['HTTP', 'METRICS', 'FLEET', 'ENROL'].map((port) => [`SWITCHYARD_${port}_PORT`, '0'])
    const settings = loadSettings({
      DATABASE_URL: database.url,
      SWITCHYARD_WRAP_KEYS: `k1:${Buffer.alloc(32, 1).toString('base64')}`,
      SWITCHYARD_ADMIN_TOKEN: adminToken,
      ...Object.fromEntries(ports),
    })
    plane = new ControlPlane(settings, { clock: systemClock, log: quiet })
    await plane.start()
    if ('missing' in found) throw new Error(found.missing)
    const { executablePath, environment } = found
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox'], env: { ...process.env, ...environment } })
  })

  afterAll(async () => {
    await browser?.close()
    await plane?.stop()
    await database?.drop()
  })

  test('shows the schema, answers with a token, and asks nobody but us', async () => {
    const { http } = plane.addresses
    const page = await browser.newPage({ viewport: { width: 1300, height: 800 } })
    const strangers: string[] = []
    const complaints: string[] = []
    page.on('request', (request) => {
      if (!request.url().startsWith(http) && /^(?:https?|wss?):/.test(request.url())) strangers.push(request.url())
    })
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text())
    })
    await page.goto(`${http}/`)
    // The schema was read without a token: completion and documentation work at once.
    await page.getByText('Docs', { exact: true }).click()
    await page.getByText('Mutation', { exact: true }).first().waitFor()
    await page.getByText('Docs', { exact: true }).click()

    await page.getByText('Auth', { exact: true }).click()
    await page.locator('app-authorization-editor nz-select').click()
    await page.getByText('Bearer Token').last().click()
    await page.locator('app-authorization-bearer .cm-content').click()
    await page.keyboard.type(adminToken)
    await page.getByText('Send Request', { exact: true }).click()
    await page.locator('app-query-result').getByText('"bootstrap"').first().waitFor()
    expect(strangers).toEqual([])
    expect(complaints).toEqual([])
    await page.close()
  })
})

import { describe, expect, it } from 'vitest'
import * as agent from '../../agent/src/settings.js'
import * as controlPlane from '../../control-plane/src/settings.js'

/** Both planes are often started from one shell, or one file of variables: neither may complain about the other's. */
const every = [...Object.values(agent.settingsTable), ...Object.values(controlPlane.settingsTable)].map(
  ({ variable }) => variable,
)
const others = ['SWITCHYARD_URL', 'SWITCHYARD_TOKEN', 'SWITCHYARD_CLASSIFIER_TOKEN', 'SWITCHYARD_TEST_POSTGRES']
const environment = Object.fromEntries([...every, ...others].map((variable) => [variable, 'x']))

describe('a variable that is misspelt', () => {
  it('is never one of the other plane, of the command line or of the tests', () => {
    expect(controlPlane.describeMisspelt(environment)).toEqual([])
    expect(agent.describeMisspelt(environment)).toEqual([])
  })

  it.each(every)('%s with a letter too few is told by the plane whose it is', (variable) => {
    if (!variable.startsWith('SWITCHYARD_')) return
    const plane = Object.values(agent.settingsTable).some((row) => row.variable === variable) ? agent : controlPlane
    const [sentence] = plane.describeMisspelt({ [variable.slice(0, -1)]: 'x' })
    expect(sentence).toMatch(new RegExp(`did you mean ${variable}\\?$`))
  })
})

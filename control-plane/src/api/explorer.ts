import fastifyStatic from '@fastify/static'
import { getDistDirectory, isSandboxFrame, renderAltair, renderInitSnippet, SANDBOX_FRAME_CSP } from 'altair-static'
import type { FastifyInstance } from 'fastify'

const firstQuery = `# Switchyard. Put your token into the tab Auth above (type: Bearer Token), then run this.
# Subscriptions send it by themselves: put it into their connection parameters (the two arrows on the left).
query Viewer {
  viewer {
    subject
    tenantId
    roles
    permissions
  }
}
`

/**
 * The in-browser explorer, whole from this server: its content security policy lets it talk to nobody else, so what does
 * not work offline would not work at all.
 */
export async function registerExplorer(server: FastifyInstance, graphPath: string, secure: boolean): Promise<void> {
  const options = {
    baseURL: '/explorer/',
    endpointURL: graphPath,
    subscriptionsEndpoint: graphPath,
    subscriptionsProtocol: secure ? 'wss' : 'ws',
    initialSubscriptionRequestHandlerId: 'graphql-ws' as const,
    initialSubscriptionsPayload: { Authorization: 'Bearer <token>' },
    initialQuery: firstQuery,
    initialSettings: { 'alert.disableUpdateNotification': true },
    disableAccount: true,
    serveInitialOptionsInSeperateRequest: 'initial-options.js',
  }
  // Altair's only banner offers a plugin from a host that this page may not reach.
  const page = renderAltair(options).replace('</head>', '<style>app-banner-container{display:none}</style></head>')
  const script = renderInitSnippet(options)

  await server.register(async (explorer) => {
    explorer.addHook('onSend', async (request, reply) => {
      reply.header('content-security-policy', isSandboxFrame(request.url) ? SANDBOX_FRAME_CSP : policyFor(request.host))
      reply.header('referrer-policy', 'no-referrer')
    })
    explorer.get('/explorer', (_, reply) => reply.redirect('/explorer/', 302))
    explorer.get('/explorer/', (_, reply) => reply.type('text/html; charset=utf-8').send(page))
    explorer.get('/explorer/initial-options.js', (_, reply) =>
      reply.type('text/javascript; charset=utf-8').send(script),
    )
    await explorer.register(fastifyStatic, {
      root: getDistDirectory(),
      prefix: '/explorer/',
      index: false,
      decorateReply: false,
      wildcard: false,
    })
  })
}

/** `'self'` does not cover `ws:` in every browser, so our own host is named when it looks like one. */
function policyFor(host: string): string {
  const sockets = /^[A-Za-z0-9.[\]:-]{1,255}$/.test(host) ? ` ws://${host} wss://${host}` : ''
  return [
    "default-src 'none'",
    "script-src 'self'",
    // Altair's components carry their own styles.
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self' data:",
    `connect-src 'self'${sockets}`,
    "worker-src 'self' blob:",
    "frame-src 'self'",
    "manifest-src 'self'",
    "base-uri 'self'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

import { rawPublicKeyOf } from '../../../proto/snapshot/raw-keys.js'
import { must } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import type { KeyRing } from '../access/encryption.js'
import type { Database, Transaction } from '../database/database.js'
import { CertificateAuthority } from './certificate-authority.js'
import { newSigningKey } from './signing-keys.js'

/**
 * Who this installation is: its id, its CA and its first signing key. Made once, by whichever replica starts first on an
 * empty database; every later start opens what is there. Private keys rest sealed under the key ring.
 */
export async function openInstallation(options: {
  database: Database
  keyRing: KeyRing
  clock: Clock
}): Promise<CertificateAuthority> {
  const { database, keyRing, clock } = options
  const found = await database.rows.installation.findFirst()
  const row = found ?? (await makeInstallation(options))
  return CertificateAuthority.open(
    {
      installationId: row.id,
      certificateDer: Buffer.from(row.caCertificate),
      privateKeyDer: keyRing.open(row.caKey, row.caKeyWrapId, authorityContext),
    },
    clock,
  )
}

/** Associated data of the sealed CA key. */
export const authorityContext = 'ca'

async function makeInstallation({ database, keyRing, clock }: { database: Database; keyRing: KeyRing; clock: Clock }) {
  const now = new Date(clock.nowMs())
  const material = await CertificateAuthority.make(newId('installation', now.getTime()), clock)
  const signing = newSigningKey(now.getTime())
  return database.transaction(now, async ({ rows }: Transaction) => {
    // Two replicas that start together on an empty database: the second finds what the first made.
    await rows.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended('installation', 0))`
    const found = await rows.installation.findFirst()
    if (found !== null) return found
    const sealed = keyRing.seal(material.privateKeyDer, authorityContext)
    await rows.signingKey.create({
      data: {
        ...signing.row(keyRing),
        publicKey: new Uint8Array(rawPublicKeyOf('ed25519', signing.seed)),
        createdAt: now,
      },
    })
    await rows.installation.create({
      data: {
        id: material.installationId,
        caKey: sealed.ciphertext,
        caKeyWrapId: sealed.wrapKeyId,
        caCertificate: new Uint8Array(material.certificateDer),
        createdAt: now,
      },
    })
    return must(await rows.installation.findFirst(), 'the installation was just made')
  })
}

import { writeFileSync } from 'node:fs'
import { lexicographicSortSchema, printSchema } from 'graphql'
import { resolverClasses } from '../resolvers.js'
import { buildGraphSchema } from './schema.js'

/**
 * Prints the schema in its own language, sorted: to the file named by the argument, else to standard output. Needs no
 * database and no settings.
 */
const text = `${printSchema(lexicographicSortSchema(await buildGraphSchema(resolverClasses)))}\n`
const file = process.argv[2]
if (file === undefined) process.stdout.write(text)
else writeFileSync(file, text)

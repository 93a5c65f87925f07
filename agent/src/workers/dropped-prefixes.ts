/** A number on `/metrics`, counted by workers, of what they told, and by the primary, of what it passed on. */
export const droppedPrefixes = {
  name: 'prefixes_not_shared_total',
  help: 'Beginnings of prompts that another request worker was not told of, because more came than it takes.',
} as const

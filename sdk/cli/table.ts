/** Rows as aligned columns under their names; numbers to the right. */
export function formatTable(
  columns: readonly string[],
  rows: readonly (readonly (string | number | null)[])[],
): string {
  const cells = rows.map((row) => row.map((cell) => (cell === null ? '-' : String(cell))))
  const widths = columns.map((name, i) => Math.max(name.length, ...cells.map((row) => row[i]?.length ?? 0)))
  const isNumber = columns.map((_, i) => rows.length > 0 && rows.every((row) => row[i] === null || isNumeric(row[i])))
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (isNumber[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd()
  return [line(columns), ...cells.map(line)].map((text) => `${text}\n`).join('')
}

function isNumeric(cell: string | number | null | undefined): boolean {
  return typeof cell === 'number' || (typeof cell === 'string' && /^\$?-?[\d,.]+%?$/.test(cell))
}

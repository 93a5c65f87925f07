import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { libraryFolders, unpackDebianPackages } from './debian-package.js'

/** A browser that Playwright can start: the program, and what must be in its environment. */
export interface TestChromium {
  readonly executablePath: string
  readonly environment: Readonly<Record<string, string>>
}

const installed = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** Of the machine, else Debian's package unpacked beside the tests (no root); else why there is none. */
export function testChromium(): TestChromium | { readonly missing: string } {
  const found = installed.find((file) => existsSync(file))
  if (found !== undefined) return { executablePath: found, environment: {} }
  return unpackedChromium()
}

function unpackedChromium(): TestChromium | { readonly missing: string } {
  try {
    const root = unpackDebianPackages('chromium', packages)
    const fonts = path.join(root, 'fonts.conf')
    if (!existsSync(fonts)) writeFileSync(fonts, fontsConf(root))
    const environment = { LD_LIBRARY_PATH: libraryFolders(root), FONTCONFIG_FILE: fonts }
    const executablePath = path.join(root, 'usr/lib/chromium/chromium-headless-shell')
    const tried = spawnSync(executablePath, ['--version'], { encoding: 'utf8', env: environment })
    if (tried.status === 0) return { executablePath, environment }
    return { missing: tried.error?.message ?? tried.stderr.trim().split('\n')[0] ?? 'it does not run' }
  } catch (error) {
    return { missing: (error as Error).message.split('\n')[0] ?? '' }
  }
}

function fontsConf(root: string): string {
  return `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>${root}/usr/share/fonts</dir><cachedir>${root}/fonts-cache</cachedir></fontconfig>\n`
}

/** Debian 12: the browser without windows, and what it is linked with beyond the C library (read off `ldd`). */
const packages = [
  ...[
    'chromium-headless-shell',
    'chromium-common',
    'fonts-dejavu-core',
    'libasound2',
    'libasyncns0',
    'libatk1.0-0',
    'libatspi2.0-0',
  ],
  ...['libblkid1', 'libbrotli1', 'libbsd0', 'libcap2', 'libdav1d6', 'libdbus-1-3', 'libdouble-conversion3', 'libdrm2'],
  ...['libexpat1', 'libffi8', 'libflac12', 'libfontconfig1', 'libfreetype6', 'libgbm1', 'libgcrypt20', 'libglib2.0-0'],
  ...['libgpg-error0', 'libgraphite2-3', 'libharfbuzz-subset0', 'libharfbuzz0b', 'libjpeg62-turbo', 'liblcms2-2'],
  ...[
    'liblz4-1',
    'liblzma5',
    'libmd0',
    'libminizip1',
    'libmount1',
    'libmp3lame0',
    'libmpg123-0',
    'libnspr4',
    'libnss3',
  ],
  ...['libogg0', 'libopenh264-7', 'libopenjp2-7', 'libopus0', 'libpcre2-8-0', 'libpng16-16', 'libpulse0'],
  ...['libselinux1', 'libsndfile1', 'libstdc++6', 'libsystemd0', 'libudev1', 'libvorbis0a', 'libvorbisenc2'],
  ...['libwayland-server0', 'libx11-6', 'libx11-xcb1', 'libxau6', 'libxcb1', 'libxcomposite1', 'libxdamage1'],
  ...['libxdmcp6', 'libxext6', 'libxfixes3', 'libxi6', 'libxkbcommon0', 'libxnvctrl0', 'libxrandr2', 'libxrender1'],
  ...['libzstd1', 'zlib1g', 'libgcc-s1'],
]

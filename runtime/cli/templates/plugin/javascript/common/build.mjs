// Run by `affluent plugin build` with the path to write the component to.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { componentize } from '@bytecodealliance/componentize-js';

const out = resolve(process.argv[2]);
const { world } = JSON.parse(await readFile('plugin.json', 'utf8'));

// Absolute paths: relative ones with `..` are not resolved. Without these features nothing of WASI is imported.
const { component } = await componentize({
  sourcePath: resolve('src/plugin.js'),
  witPath: resolve('wit'),
  worldName: world,
  disableFeatures: ['random', 'stdio', 'clocks', 'http', 'fetch-event'],
});
await mkdir(dirname(out), { recursive: true });
await writeFile(out, component);

#!/usr/bin/env node
'use strict';
// Builds the addon with cargo and puts it where lib/ loads it: `node build.js [--debug]`.

const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const isDebug = process.argv.includes('--debug');
const cargo = ['build', '--package', 'kithdb-node', '--message-format', 'json-render-diagnostics'];
const built = spawnSync('cargo', isDebug ? cargo : [...cargo, '--release'], {
	cwd: path.join(__dirname, '..'),
	stdio: ['ignore', 'pipe', 'inherit'],
	maxBuffer: 1 << 30,
	encoding: 'utf8',
});
if (built.error) throw built.error;
if (built.status !== 0) process.exit(built.status ?? 1);

const artifacts = built.stdout.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
const addon = artifacts.find(({ reason, target }) => reason === 'compiler-artifact' && target.name === 'kithdb_node');
if (!addon) throw new Error('cargo built no addon');
const place = path.join(__dirname, 'build', 'kithdb.node');
fs.mkdirSync(path.dirname(place), { recursive: true });
// A program may have the old one loaded: it keeps it, for the new one is another file.
fs.rmSync(place, { force: true });
fs.copyFileSync(addon.filenames.find((file) => /\.(so|dylib|dll)$/.test(file)), place);
console.log(place);

'use strict';
// What a program gets that installs the package, or the alias in the original's place.
const assert = require('node:assert/strict');
const childProcess = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { freshPath } = require('./support');

const PACKAGE = path.join(__dirname, '..');

// A program's directory, with the package under its own name and the alias as the original.
function installed() {
	const place = freshPath('');
	fs.mkdirSync(path.join(place, 'node_modules'), { recursive: true });
	fs.symlinkSync(PACKAGE, path.join(place, 'node_modules', 'kithdb'), 'dir');
	fs.cpSync(path.join(PACKAGE, 'alias', 'sqlite3'), path.join(place, 'node_modules', 'sqlite3'), { recursive: true });
	return place;
}

function runIn(place, name, program) {
	fs.writeFileSync(path.join(place, name), program);
	const { stdout, stderr } = childProcess.spawnSync(process.execPath, [name], { cwd: place, encoding: 'utf8' });
	assert.equal(stderr, '');
	return stdout;
}

test('require loads the callback face by its name and by the alias, and both are one', () => {
	assert.equal(runIn(installed(), 'program.js', `
		const sqlite3 = require('sqlite3').verbose();
		console.log(sqlite3 === require('kithdb/sqlite3'));
		new sqlite3.Database(':memory:').get('SELECT 1 AS one', (error, row) => console.log(row.one));
	`), 'true\n1\n');
});

test('import loads it, with every export by name', () => {
	assert.equal(runIn(installed(), 'program.mjs', `
		import alias from 'sqlite3';
		import sqlite3, * as names from 'kithdb/sqlite3';
		console.log(alias === sqlite3);
		console.log(Object.keys(sqlite3).filter((name) => names[name] !== sqlite3[name]).join());
	`), 'true\npath\n');
});

test('both load the promise face', () => {
	const program = `open({ filename: ':memory:' }).then((db) => db.get('SELECT 1 AS one')).then((row) => console.log(row.one));`;
	assert.equal(runIn(installed(), 'program.js', `const { open } = require('kithdb/promises'); ${program}`), '1\n');
	assert.equal(runIn(installed(), 'program.mjs', `import { open } from 'kithdb/promises'; ${program}`), '1\n');
});

test('the alias asks for the version that it is of', () => {
	const read = (...parts) => JSON.parse(fs.readFileSync(path.join(PACKAGE, ...parts, 'package.json'), 'utf8'));
	const [main, alias] = [read(), read('alias', 'sqlite3')];
	assert.equal(alias.version, main.version);
	assert.deepEqual(alias.dependencies, { kithdb: main.version });
});

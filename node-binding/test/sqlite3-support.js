'use strict';
// What the tests of the callback face share.
const assert = require('node:assert/strict');
const childProcess = require('node:child_process');
const { EventEmitter } = require('node:events');
const { freshPath } = require('./support');
const sqlite3 = require('./sqlite3-subject');

// Where the original ends its process with a crash, or races with itself, a test says so and expects each subject's own.
const IS_ORIGINAL = Boolean(process.env.KITHDB_SQLITE3_SUBJECT);
const SUBJECT = require.resolve('./sqlite3-subject');

// Calls a method that takes a callback; answers what the callback was given, and as whose method it was called.
function answer(object, method, ...given) {
	return new Promise((resolve) => {
		object[method](...given, function (...values) {
			resolve({ error: values[0], value: values[1], values, self: this });
		});
	});
}

// The same, for what must go well.
async function ask(object, method, ...given) {
	const { error, value } = await answer(object, method, ...given);
	if (error) throw error;
	return value;
}

// What `run` changed.
async function run(object, ...given) {
	const { error, self } = await answer(object, 'run', ...given);
	if (error) throw error;
	return { lastID: self.lastID, changes: self.changes };
}

// The error that a method's callback is given.
async function errorOf(object, method, ...given) {
	const { error } = await answer(object, method, ...given);
	assert.ok(error, `${method} was to fail`);
	return error;
}

function checkError(error, errno, code, message) {
	assert.ok(error instanceof Error);
	assert.equal(error.errno, errno);
	assert.equal(error.code, code);
	if (message instanceof RegExp) assert.match(error.message, message);
	else assert.equal(error.message, `${code}: ${message}`);
}

// An open database, in memory unless a file is named.
function open(filename = ':memory:', ...given) {
	return new Promise((resolve, reject) => {
		const db = new sqlite3.Database(filename, ...given, (error) => (error ? reject(error) : resolve(db)));
	});
}

async function memory(sql) {
	const db = await open();
	if (sql) await ask(db, 'exec', sql);
	return db;
}

const close = (db) => ask(db, 'close');
const once = (emitter, name) => EventEmitter.once(emitter, name);

// Runs a program in a process of its own. `sqlite3` and `file` are in scope in it.
function runProgram(body, { file = '', args = [] } = {}) {
	const program = `'use strict';\nconst sqlite3 = require(${JSON.stringify(SUBJECT)});\nconst file = ${JSON.stringify(file)};\n${body}`;
	const result = childProcess.spawnSync(process.execPath, [...args, '-e', program], {
		env: { ...process.env, NODE_OPTIONS: '', NODE_TEST_CONTEXT: '' },
		encoding: 'utf8',
		timeout: 60000,
	});
	return { status: result.status, signal: result.signal, stdout: result.stdout, stderr: result.stderr };
}

module.exports = { sqlite3, IS_ORIGINAL, SUBJECT, answer, ask, run, errorOf, checkError, open, memory, close, once, freshPath, runProgram };

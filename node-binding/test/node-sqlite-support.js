'use strict';
// What the tests of the face of node:sqlite share: databases, rows to compare with, and one way to check an error completely.
const assert = require('node:assert/strict');
const childProcess = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const sqlite = require('./node-sqlite-subject');

const SUBJECT = require.resolve('./node-sqlite-subject');
const { DatabaseSync } = sqlite;
// What only ours can do is tested on ours only.
const IS_OURS = !process.env.KITHDB_NODE_SQLITE_SUBJECT;

let directory = null;
let counter = 0;

// A path that nothing exists at, inside a directory that goes away with the process.
function freshPath(suffix = '.db') {
	if (directory === null) {
		directory = fs.mkdtempSync(path.join(os.tmpdir(), 'kithdb-node-sqlite-'));
		process.on('exit', () => fs.rmSync(directory, { recursive: true, force: true, maxRetries: 3 }));
	}
	counter += 1;
	return path.join(directory, `${counter}${suffix}`);
}

function memory(sql, options) {
	const db = options === undefined ? new DatabaseSync(':memory:') : new DatabaseSync(':memory:', options);
	if (sql) db.exec(sql);
	return db;
}

// A table of letters: 1 a, 2 b, 3 c, 4 d.
function letters(options) {
	return memory("CREATE TABLE letters(id INTEGER PRIMARY KEY, letter TEXT); INSERT INTO letters VALUES(1,'a'),(2,'b'),(3,'c'),(4,'d')", options);
}

// A row as the face has it: without prototype.
function row(fields) {
	return Object.assign(Object.create(null), fields);
}

function get(db, sql, ...parameters) {
	return db.prepare(sql).get(...parameters);
}

// Checks the class, code and message of what is thrown; a message may be a pattern, or left out.
function checkError(error, Class, code, message) {
	assert.equal(Object.getPrototypeOf(Object(error)), Class.prototype, `wrong class: ${error && error.stack}`);
	assert.equal(error.code, code, error.message);
	if (message instanceof RegExp) assert.match(error.message, message);
	else if (message !== undefined) assert.equal(error.message, message);
	return error;
}

function throws(fn, Class, code, message) {
	try {
		fn();
	} catch (error) {
		return checkError(error, Class, code, message);
	}
	return assert.fail('expected an exception, and none was thrown');
}

async function rejects(promise, Class, code, message) {
	let error;
	try {
		await promise;
	} catch (reason) {
		error = reason;
		return checkError(error, Class, code, message);
	}
	return assert.fail('expected a rejection, and the promise was fulfilled');
}

const throwsType = (fn, message) => throws(fn, TypeError, 'ERR_INVALID_ARG_TYPE', message);
const throwsValue = (fn, message) => throws(fn, TypeError, 'ERR_INVALID_ARG_VALUE', message);
const throwsState = (fn, message) => throws(fn, Error, 'ERR_INVALID_STATE', message);
const throwsRange = (fn, message) => throws(fn, RangeError, 'ERR_OUT_OF_RANGE', message);

// SQLite's errors have its number and its words for that too.
function throwsSqlite(fn, errcode, message, errstr) {
	const error = throws(fn, Error, 'ERR_SQLITE_ERROR', message);
	assert.equal(error.errcode, errcode);
	if (errstr !== undefined) assert.equal(error.errstr, errstr);
	return error;
}

// Runs a program in a process of its own. `sqlite` and `file` are in scope in it.
function runProgram(body, { file = '', args = [] } = {}) {
	const program = `'use strict';\nconst sqlite = require(${JSON.stringify(SUBJECT)});\nconst file = ${JSON.stringify(file)};\n${body}`;
	const result = childProcess.spawnSync(process.execPath, [...args, '-e', program], {
		env: { ...process.env, NODE_OPTIONS: '', NODE_TEST_CONTEXT: '' },
		encoding: 'utf8',
	});
	return { status: result.status, signal: result.signal, stdout: result.stdout, stderr: result.stderr };
}

module.exports = {
	sqlite, DatabaseSync, IS_OURS, freshPath, memory, letters, row, get, throws, rejects,
	throwsType, throwsValue, throwsState, throwsRange, throwsSqlite, runProgram,
};

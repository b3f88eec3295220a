'use strict';
// What the conformance tests share: databases to work on, and one way to check an error completely.
const assert = require('node:assert/strict');
const childProcess = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const Database = require('./subject');

const { SqliteError } = Database;
const SUBJECT = require.resolve('./subject');

// Which of the original's generations the subject follows: 13 has explain(), and differs from 12 in a few places that the tests name.
const GENERATION = typeof Database.prototype.explain === 'function' ? 13 : 12;

// The original's 13 opens file descriptors too, which ours does not.
const OPENS_DESCRIPTORS = GENERATION === 13 && process.env.KITHDB_SUBJECT !== undefined;

// Messages that many methods share.
const BUSY = 'This database connection is busy executing a query';
const STATEMENT_BUSY = 'This statement is busy executing a query';
const CLOSED = 'The database connection is not open';

let directory = null;
let counter = 0;

// A path that nothing exists at, inside a directory that goes away with the process.
function freshPath(suffix = '.db') {
	if (directory === null) {
		directory = fs.mkdtempSync(path.join(os.tmpdir(), 'kithdb-conformance-'));
		process.on('exit', () => fs.rmSync(directory, { recursive: true, force: true, maxRetries: 3 }));
	}
	counter += 1;
	return path.join(directory, `${counter}${suffix}`);
}

function memory(sql, options) {
	const db = new Database(':memory:', options);
	if (sql) db.exec(sql);
	return db;
}

// A table of five columns, one of each kind of value, with `count` rows.
function filled(db, count = 3) {
	db.exec('CREATE TABLE entries (t TEXT, i INTEGER, r REAL, b BLOB, n)');
	const insert = db.prepare('INSERT INTO entries VALUES (?, ?, ?, ?, NULL)');
	db.exec('SAVEPOINT filling'); // one commit, for databases on disk
	for (let i = 1; i <= count; ++i) insert.run(`text ${i}`, i, i + 0.25, Buffer.from([i, 0, 255]));
	db.exec('RELEASE filling');
	return db;
}

function thrownBy(fn) {
	try {
		fn();
	} catch (error) {
		return { error };
	}
	return assert.fail('expected an exception, and none was thrown');
}

// Checks the exact class, and the message and code where given.
function checkError(error, type, message, code) {
	assert.equal(Object.getPrototypeOf(Object(error)), type.prototype, `wrong class: ${error && error.stack}`);
	if (message instanceof RegExp) assert.match(error.message, message);
	else if (message !== undefined) assert.equal(error.message, message);
	if (code instanceof RegExp) assert.match(error.code, code);
	else if (code !== undefined) assert.equal(error.code, code);
	return error;
}

function throws(fn, type, message, code) {
	return checkError(thrownBy(fn).error, type, message, code);
}

function throwsSqlite(fn, code, message) {
	return throws(fn, SqliteError, message, code);
}

async function rejects(promise, type, message, code) {
	let error;
	try {
		await promise;
	} catch (reason) {
		error = reason;
		return checkError(error, type, message, code);
	}
	return assert.fail('expected a rejection, and the promise was fulfilled');
}

// Checks that exactly this value is thrown, whatever it is.
function throwsValue(fn, value) {
	assert.equal(thrownBy(fn).error, value);
}

// Runs a program in a process of its own. `Database` and `file` are in scope in it.
function runProgram(body, { file = '', env = {}, cwd, args = [] } = {}) {
	const program = `'use strict';\nconst Database = require(${JSON.stringify(SUBJECT)});\nconst file = ${JSON.stringify(file)};\n${body}`;
	const result = childProcess.spawnSync(process.execPath, [...args, '-e', program], {
		cwd,
		env: { ...process.env, NODE_OPTIONS: '', NODE_TEST_CONTEXT: '', ...env },
		encoding: 'utf8',
		timeout: 60000,
	});
	return { status: result.status, signal: result.signal, stdout: result.stdout, stderr: result.stderr };
}

module.exports = {
	Database, SqliteError, SUBJECT, GENERATION, OPENS_DESCRIPTORS, BUSY, STATEMENT_BUSY, CLOSED,
	freshPath, memory, filled, throws, throwsSqlite, throwsValue, rejects, runProgram,
};

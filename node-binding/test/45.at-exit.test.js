'use strict';
// How a process ends that has databases open. Every program here runs in a process of its own.
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { Database, freshPath, runProgram } = require('./support');

const SETUP = "const db = new Database(file); db.pragma('journal_mode = WAL'); db.exec('CREATE TABLE IF NOT EXISTS a (b); INSERT INTO a VALUES (1)');";

function ends(body, { status = 0, stdout = 'end' } = {}) {
	const file = freshPath();
	const result = runProgram(body, { file });
	assert.equal(result.signal, null, `killed by ${result.signal}\n${result.stderr}`);
	assert.equal(result.status, status, result.stderr);
	assert.equal(result.stdout, stdout);
	return { file, stderr: result.stderr };
}
function rowsOf(file) {
	const db = new Database(file);
	const rows = db.prepare('SELECT b FROM a ORDER BY b').pluck().all();
	assert.equal(db.pragma('integrity_check', { simple: true }), 'ok');
	db.close();
	return rows;
}

describe('at the end of a process', () => {
	it('an open database keeps nothing alive and is closed', () => {
		const { file } = ends(`${SETUP} process.stdout.write('end');`);
		assert.equal(fs.existsSync(`${file}-wal`), false);
		assert.deepEqual(rowsOf(file), [1]);
	});

	it('a database that nobody refers to any more is closed too', () => {
		const { file } = ends(`(() => { ${SETUP} })(); process.stdout.write('end');`);
		assert.equal(fs.existsSync(`${file}-wal`), false);
		assert.deepEqual(rowsOf(file), [1]);
	});

	it('many databases are closed', () => {
		const { file } = ends(`for (let i = 0; i < 50; ++i) { const db = new Database(file + i); db.exec('CREATE TABLE a (b)'); db.prepare('SELECT * FROM a').get(); } process.stdout.write('end');`);
		for (let i = 0; i < 50; ++i) assert.equal(fs.existsSync(`${file}${i}-journal`), false);
	});

	it('an open transaction is rolled back', () => {
		const { file } = ends(`${SETUP} db.exec('BEGIN; INSERT INTO a VALUES (2)'); process.stdout.write('end');`);
		assert.deepEqual(rowsOf(file), [1]);
	});

	it('an open iterator does no harm', () => {
		const { file } = ends(`${SETUP} db.prepare('SELECT * FROM a').iterate().next(); db.prepare('SELECT * FROM a').iterate(); process.stdout.write('end');`);
		assert.deepEqual(rowsOf(file), [1]);
	});

	it('process.exit() loses nothing that was committed', () => {
		const { file } = ends(`${SETUP} db.prepare('SELECT * FROM a').iterate().next(); process.stdout.write('end'); process.exit(3);`, { status: 3 });
		// Whether the log is folded into the file first depends on whether Node runs its cleanup hooks then.
		assert.deepEqual(rowsOf(file), [1]);
	});

	it('process.exit() inside a user function does not crash', () => {
		// The statement is being run: nothing more than the exit code and a whole file is promised.
		const { file } = ends(`${SETUP} db.function('leave', () => { process.stdout.write('end'); process.exit(4); }); db.prepare('INSERT INTO a SELECT leave()').run();`, { status: 4 });
		assert.deepEqual(rowsOf(file), [1]);
	});

	it('process.exit() inside a transaction function rolls it back', () => {
		const { file } = ends(`${SETUP} db.transaction(() => { db.exec('INSERT INTO a VALUES (2)'); process.stdout.write('end'); process.exit(0); })();`);
		assert.deepEqual(rowsOf(file), [1]);
	});

	it('an exception that nobody catches ends the process with 1, not with a crash', () => {
		const { file, stderr } = ends(`${SETUP} process.stdout.write('end'); db.exec('INSERT INTO nowhere VALUES (1)');`, { status: 1 });
		assert.match(stderr, /SqliteError: no such table: nowhere/);
		assert.match(stderr, /code: 'SQLITE_ERROR'/);
		assert.deepEqual(rowsOf(file), [1]);
	});

	it('an exception of a user function that nobody catches does so too', () => {
		const { stderr } = ends(`${SETUP} process.stdout.write('end'); db.function('f', () => { throw new Error('mine'); }); db.prepare('SELECT f()').get();`, { status: 1 });
		assert.match(stderr, /Error: mine/);
	});

	it('handlers of "exit" may still use the database', () => {
		const { file } = ends(`${SETUP} process.on('exit', () => { db.exec('INSERT INTO a VALUES (2)'); process.stdout.write('end'); });`);
		assert.deepEqual(rowsOf(file), [1, 2]);
	});

	it('handlers of "exit" may close the database', () => {
		const { file } = ends(`${SETUP} process.on('exit', () => { db.close(); process.stdout.write('end'); });`);
		assert.deepEqual(rowsOf(file), [1]);
	});

	it('functions, aggregates and tables that are registered do no harm', () => {
		ends(`${SETUP} db.function('f', () => 1); db.aggregate('g', { step: () => 1, inverse: () => 1 }); db.table('t', { columns: ['c'], *rows() { yield [1]; } });
			db.table('m', () => ({ columns: ['c'], *rows() { yield [1]; } })); db.exec('CREATE VIRTUAL TABLE v USING m'); db.prepare('SELECT f(), g() FROM t, v').all(); process.stdout.write('end');`);
	});

	it('a virtual table in the middle of a scan does no harm', () => {
		ends(`${SETUP} db.table('t', { columns: ['c'], *rows() { for (;;) yield [1]; } }); db.prepare('SELECT * FROM t').iterate().next(); process.stdout.write('end');`);
	});

	it('a backup that is under way does no harm', () => {
		const { file } = ends(`${SETUP} db.exec('INSERT INTO a VALUES (zeroblob(5000000))'); db.backup(file + '.copy', { progress: () => { process.stdout.write('end'); process.exit(0); } });`);
		assert.equal(rowsOf(file)[0], 1);
	});

	it('the log of a killed process is recovered', () => {
		const file = freshPath();
		const result = runProgram(`${SETUP} db.exec('BEGIN; INSERT INTO a VALUES (2)'); process.kill(process.pid, 'SIGKILL'); for (;;);`, { file });
		assert.ok(result.signal === 'SIGKILL' || result.status !== 0);
		assert.deepEqual(rowsOf(file), [1]);
	});
});

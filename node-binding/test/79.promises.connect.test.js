'use strict';
// `connect` where libsql is not to be followed: it deadlocks, crashes, or has more than ours.
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { connect, SqliteError } = require('../lib/promises');
const { freshPath, runProgram } = require('./support');

const FILLED = 'CREATE TABLE t(id INTEGER PRIMARY KEY, data BLOB); INSERT INTO t VALUES(1, NULL), (2, NULL)';

const failure = (promise) => promise.then(() => assert.fail('expected a rejection'), (error) => error);

async function memory(sql) {
	const db = await connect(':memory:');
	await db.exec(sql);
	return db;
}

test('the database is used while rows are iterated', async () => {
	const db = await memory(FILLED);
	const statement = await db.prepare('SELECT id FROM t ORDER BY id');
	const seen = [];
	for await (const { id } of await statement.iterate()) {
		seen.push(id, (await statement.all()).length);
		await db.run('UPDATE t SET data = ? WHERE id = ?', Buffer.from([id]), id);
	}
	assert.deepEqual(seen, [1, 2, 2, 2]);
	const broken = await (await db.prepare("SELECT json(CASE id WHEN 1 THEN '1' ELSE '{' END) AS j FROM t ORDER BY id")).iterate();
	assert.deepEqual(await broken.next(), { value: { j: '1' }, done: false });
	const error = await failure(broken.next());
	assert.ok(error instanceof SqliteError);
	assert.deepEqual([error.code, error.message], ['SQLITE_ERROR', 'malformed JSON']);
	assert.deepEqual(await broken.next(), { value: undefined, done: true });
});

test('closing waits for what was asked before, and lets the file go', async () => {
	const file = freshPath();
	const db = await connect(file);
	const statement = await db.prepare('SELECT 1 UNION SELECT 2');
	const [rows] = await Promise.all([statement.all(), statement.iterate(), db.close()].map((asked) => asked.catch(() => 'refused')));
	assert.deepEqual(rows, [{ 1: 1 }, { 1: 2 }]);
	assert.equal(db.open, false);
	assert.equal((await failure(statement.get())).message, 'The database connection is not open');
	const other = await connect(file);
	await other.exec('PRAGMA locking_mode = EXCLUSIVE; CREATE TABLE t(a)');
	await other.close();
});

test('options that are not there are refused by name', async () => {
	for (const name of ['syncUrl', 'authToken', 'encryptionKey', 'defaultQueryTimeout']) {
		assert.match((await failure(connect(':memory:', { [name]: 'x' }))).message, new RegExp(`connect has no option "${name}"`));
	}
	assert.match((await failure(connect(':memory:', { timeout: -1 }))).message, /"timeout" option to be a number of milliseconds/);
});

test('an open database does not keep the program from its end, what was asked does', () => {
	const file = freshPath();
	const { status, stdout, stderr } = runProgram(`
		const { connect } = require(${JSON.stringify(require.resolve('../lib/promises'))});
		connect(file).then(async (db) => {
			await db.exec('CREATE TABLE t(a)');
			const iterator = await db.iterate('SELECT 1 UNION SELECT 2');
			await iterator.next();
			db.run('INSERT INTO t VALUES(1)').then(({ changes }) => console.log(changes));
		});
	`, { file });
	assert.deepEqual([status, stdout, stderr], [0, '1\n', '']);
});

test('statements that are dropped are finalized', () => {
	const { status, stdout, stderr } = runProgram(`
		const { connect } = require(${JSON.stringify(require.resolve('../lib/promises'))});
		(async () => {
			const db = await connect(':memory:');
			await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES(1), (2)');
			// It holds the table while it is open.
			await (await db.iterate('SELECT a FROM t')).next();
			for (let i = 0; ; i += 1) {
				gc();
				await new Promise(setImmediate);
				try {
					await db.exec('DROP TABLE t');
					break;
				} catch (error) {
					if (error.code !== 'SQLITE_LOCKED' || i > 1000) throw error;
				}
			}
			console.log('gone');
		})();
	`, { args: ['--expose-gc'] });
	assert.deepEqual([status, stdout, stderr], [0, 'gone\n', '']);
});

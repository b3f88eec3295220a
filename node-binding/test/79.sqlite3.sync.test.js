'use strict';
// Synced tables through the callback face. The original has none, so that these run on ours whatever the subject is.
const assert = require('node:assert/strict');
const { test } = require('node:test');
const Database = require('..');
const sqlite3 = require('../lib/sqlite3');
const { answer, ask, run, errorOf, checkError, freshPath } = require('./sqlite3-support');

function open(file, ...given) {
	return new Promise((resolve, reject) => {
		const db = new sqlite3.Database(file, ...given, (error) => (error ? reject(error) : resolve(db)));
	});
}

// A file of a workspace with two synced tables.
function founded() {
	const file = freshPath();
	const db = new Database(file);
	db.exec('CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT, stars INTEGER); CREATE TABLE tags(name TEXT PRIMARY KEY, color TEXT) WITHOUT ROWID');
	db.kith.init({ name: 'laptop' });
	db.kith.sync('notes');
	db.kith.sync('tags');
	db.close();
	return file;
}

// How many transactions are recorded and not sealed yet, and how many writes passed by the recording.
async function recorded(db) {
	const { transactions } = await ask(db, 'get', 'SELECT count(*) AS transactions FROM kith__pending');
	const { missed } = await ask(db, 'get', 'SELECT count(*) AS missed FROM kith__dirty');
	return { transactions, missed };
}

test('rows of synced tables are written, changed, read and deleted', async () => {
	const file = founded();
	const db = await open(file);
	assert.deepEqual(await run(db, 'INSERT INTO notes(body) VALUES(?)', 'one'), { lastID: 1, changes: 1 });
	assert.deepEqual(await run(db, 'INSERT INTO notes(body, stars) VALUES(?, ?), (?, ?)', 'two', 2, 'three', 3), { lastID: 3, changes: 2 });
	assert.deepEqual(await run(db, "UPDATE notes SET stars = 9 WHERE body = 'one'"), { lastID: 3, changes: 1 });
	assert.deepEqual(await run(db, 'DELETE FROM notes WHERE id = ?', 2), { lastID: 3, changes: 1 });
	assert.deepEqual(await ask(db, 'all', 'SELECT * FROM notes ORDER BY id'), [{ id: 1, body: 'one', stars: 9 }, { id: 3, body: 'three', stars: 3 }]);
	const insert = db.prepare('INSERT INTO tags VALUES($name, $color)');
	for (const name of ['red', 'blue']) assert.equal((await run(insert, { $name: name, $color: name })).changes, 1);
	insert.finalize();
	checkError(await errorOf(db, 'run', "INSERT INTO tags VALUES('red', '')"), 19, 'SQLITE_CONSTRAINT', 'UNIQUE constraint failed: tags.name');
	await ask(db, 'close');
	const other = new Database(file);
	assert.equal(other.kith.isReplica, true);
	assert.deepEqual(other.prepare('SELECT id, body FROM notes ORDER BY id').all(), [{ id: 1, body: 'one' }, { id: 3, body: 'three' }]);
	assert.deepEqual(other.prepare('SELECT * FROM tags').all(), [{ name: 'blue', color: 'blue' }, { name: 'red', color: 'red' }]);
	other.close();
});

test('each transaction is recorded once, and what is rolled back is not', async () => {
	const db = await open(founded());
	const fill = (end) => new Promise((resolve) => {
		db.serialize(() => {
			db.run('BEGIN');
			const insert = db.prepare('INSERT INTO notes(body) VALUES(?)');
			for (let i = 0; i < 10; i += 1) insert.run(`body ${i}`);
			insert.finalize();
			db.run(end, resolve);
		});
	});
	assert.deepEqual(await recorded(db), { transactions: 0, missed: 0 });
	await fill('ROLLBACK');
	assert.deepEqual(await recorded(db), { transactions: 0, missed: 0 });
	await fill('COMMIT');
	assert.deepEqual(await recorded(db), { transactions: 1, missed: 0 });
	await run(db, 'INSERT INTO notes(body) VALUES(?)', 'alone');
	await ask(db, 'exec', "UPDATE notes SET stars = 1; INSERT INTO tags VALUES('red', NULL)");
	assert.deepEqual(await recorded(db), { transactions: 4, missed: 0 });
	await ask(db, 'close');
});

test('events tell of the application\'s statements and rows only, and do not disturb the recording', async () => {
	const db = await open(founded());
	const heard = { trace: [], profile: [], change: [] };
	for (const type of Object.keys(heard)) db.on(type, (...values) => heard[type].push(values));
	const insert = db.prepare('INSERT INTO notes(body) VALUES(?)');
	await run(insert, 'one');
	await ask(insert, 'finalize');
	await ask(db, 'exec', "BEGIN; UPDATE notes SET body = 'two'; COMMIT");
	await run(db, 'DELETE FROM notes WHERE id = 1');
	for (const type of Object.keys(heard)) db.removeAllListeners(type);
	assert.deepEqual(heard.change, [['insert', 'main', 'notes', 1], ['update', 'main', 'notes', 1], ['delete', 'main', 'notes', 1]]);
	const texts = ["INSERT INTO notes(body) VALUES('one')", 'BEGIN;', "UPDATE notes SET body = 'two';", 'COMMIT', 'DELETE FROM notes WHERE id = 1'];
	assert.deepEqual(heard.trace.map(([sql]) => sql), texts);
	assert.deepEqual(heard.profile.map(([sql]) => sql), ['INSERT INTO notes(body) VALUES(?)', ...texts.slice(1)]);
	assert.deepEqual(await recorded(db), { transactions: 3, missed: 0 });
	await ask(db, 'close');
});

test('tables are synced, and what is known of them is asked, in SQL', async () => {
	const db = await open(founded());
	await ask(db, 'exec', 'CREATE TABLE more(id INTEGER PRIMARY KEY, body TEXT)');
	await ask(db, 'get', "SELECT kith_sync('more')");
	const tables = await ask(db, 'all', 'SELECT name FROM kith_tables ORDER BY name');
	assert.deepEqual(tables.map(({ name }) => name), ['more', 'notes', 'tags']);
	await ask(db, 'close');
});

test('what a workspace refuses is told with the reason', async () => {
	const db = await open(founded());
	checkError(await errorOf(db, 'run', 'ALTER TABLE notes ADD COLUMN more'), 23, 'SQLITE_AUTH', /notes/);
	await ask(db, 'close');
});

test('a workspace is copied out of, but not over', async () => {
	const file = founded();
	const db = await open(file);
	await run(db, 'INSERT INTO notes(body) VALUES(?)', 'kept');
	const plain = freshPath();
	const other = await open(plain);
	await ask(other, 'exec', 'CREATE TABLE t(a)');
	await ask(other, 'close');
	const { error, self } = await answer(db, 'backup', plain, 'main', 'main', false);
	checkError(error, 8, 'SQLITE_READONLY', 'a database of a workspace cannot be overwritten; restore into a new file');
	assert.equal(self.failed, true);
	const backup = db.backup(freshPath());
	assert.equal(await ask(backup, 'step', -1), true);
	await new Promise((resolve) => backup.finish(resolve));
	assert.deepEqual(await ask(db, 'all', 'SELECT body FROM notes'), [{ body: 'kept' }]);
	await ask(db, 'close');
});

test('a workspace is not opened by an address, which would write past the recording', async () => {
	const file = founded();
	const flags = sqlite3.OPEN_READWRITE | sqlite3.OPEN_URI;
	for (const address of [`file:${file}`, `file://${file}?mode=rw`, `file:${file.replace('k', '%6b')}#x`]) {
		const error = await open(address, flags).catch((reason) => reason);
		checkError(error, 14, 'SQLITE_CANTOPEN', 'a KithDB database is opened by its path, not by a file: address');
	}
	const reader = await open(`file:${file}`, sqlite3.OPEN_READONLY | sqlite3.OPEN_URI);
	assert.deepEqual(await ask(reader, 'all', 'SELECT * FROM notes'), []);
	await ask(reader, 'close');
});

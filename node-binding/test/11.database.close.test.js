'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { Database, freshPath, memory, filled, throws, throwsSqlite, rejects, BUSY, CLOSED } = require('./support');

describe('close(): what remains', () => {
	it('returns the database and turns "open" off', () => {
		const db = memory();
		assert.equal(db.open, true);
		assert.equal(db.close(), db);
		assert.equal(db.open, false);
	});

	it('may be repeated', () => {
		const db = memory();
		db.close();
		assert.equal(db.close(), db);
		assert.equal(db.close().open, false);
	});

	it('keeps name, memory and readonly', () => {
		const file = freshPath();
		new Database(file).exec('CREATE TABLE a (b)').close();
		const db = new Database(file, { readonly: true });
		db.close();
		assert.deepEqual({ ...db }, { name: file, open: false, inTransaction: false, readonly: true, memory: false });
	});

	it('ends an open transaction without committing it', () => {
		const file = freshPath();
		const db = new Database(file);
		db.exec('CREATE TABLE a (b); BEGIN; INSERT INTO a VALUES (1)');
		assert.equal(db.inTransaction, true);
		db.close();
		assert.equal(db.inTransaction, false);
		const again = new Database(file);
		assert.equal(again.prepare('SELECT count(*) FROM a').pluck().get(), 0);
		again.close();
	});

	it('lets go of the locks on the file', () => {
		const file = freshPath();
		const one = new Database(file).exec('CREATE TABLE a (b); BEGIN EXCLUSIVE');
		const two = new Database(file, { timeout: 0 });
		throwsSqlite(() => two.exec('BEGIN EXCLUSIVE'), 'SQLITE_BUSY', 'database is locked');
		one.close();
		two.exec('BEGIN EXCLUSIVE');
		two.close();
	});

	it('folds the write-ahead log into the file when the last connection goes', () => {
		const file = freshPath();
		const one = new Database(file);
		one.pragma('journal_mode = WAL');
		one.exec('CREATE TABLE a (b)');
		const two = new Database(file);
		two.exec('INSERT INTO a VALUES (1)');
		one.close();
		assert.ok(fs.existsSync(`${file}-wal`));
		two.close();
		assert.equal(fs.existsSync(`${file}-wal`), false);
		assert.equal(fs.existsSync(`${file}-shm`), false);
	});

	it('closes with prepared statements still around', () => {
		const db = filled(memory());
		const statements = [];
		for (let i = 0; i < 50; ++i) statements.push(db.prepare(`SELECT ${i} FROM entries`));
		for (const statement of statements) statement.get();
		db.close();
		for (const statement of statements) throws(() => statement.get(), TypeError, CLOSED);
	});
});

describe('close(): what a closed database refuses', () => {
	const nothing = () => {};
	const calls = {
		'prepare': (db) => db.prepare('SELECT 1'),
		'exec': (db) => db.exec('SELECT 1'),
		'exec of an empty string': (db) => db.exec(''),
		'pragma': (db) => db.pragma('user_version'),
		'transaction': (db) => db.transaction(nothing),
		'serialize': (db) => db.serialize(),
		'function': (db) => db.function('f', nothing),
		'aggregate': (db) => db.aggregate('f', { step: nothing }),
		'table': (db) => db.table('t', nothing),
		'loadExtension': (db) => db.loadExtension('nowhere'),
	};
	for (const [name, call] of Object.entries(calls)) {
		it(`refuses ${name}`, () => {
			const db = memory().close();
			throws(() => call(db), TypeError, CLOSED);
		});
	}

	it('rejects backup()', async () => {
		const db = memory().close();
		await rejects(db.backup(freshPath()), TypeError, CLOSED);
	});

	it('still validates arguments first', () => {
		const db = memory().close();
		throws(() => db.prepare(5), TypeError, 'Expected first argument to be a string');
		throws(() => db.exec(), TypeError, 'Expected first argument to be a string');
		throws(() => db.function('', nothing), TypeError, 'User-defined function name cannot be an empty string');
	});

	it('still lets defaultSafeIntegers() be set', () => {
		const db = memory().close();
		assert.equal(db.defaultSafeIntegers(), db);
	});

	it('refuses a transaction function made before', () => {
		const db = memory('CREATE TABLE a (b)');
		let calls = 0;
		const transaction = db.transaction(() => { calls += 1; });
		db.close();
		throws(() => transaction(), TypeError, CLOSED);
		throws(() => transaction.immediate(), TypeError, CLOSED);
		assert.equal(calls, 0);
	});
});

describe('close(): what statements of a closed database refuse', () => {
	it('refuses to run, get, all, iterate, bind and columns', () => {
		const db = filled(memory());
		const read = db.prepare('SELECT * FROM entries WHERE i = ?');
		const write = db.prepare('DELETE FROM entries');
		db.close();
		throws(() => write.run(), TypeError, CLOSED);
		throws(() => read.get(1), TypeError, CLOSED);
		throws(() => read.all(1), TypeError, CLOSED);
		throws(() => read.iterate(1), TypeError, CLOSED);
		throws(() => read.bind(1), TypeError, CLOSED);
		throws(() => read.columns(), TypeError, CLOSED);
	});

	it('says that a statement returns no data before it says that the database is closed', () => {
		const db = memory();
		const statement = db.prepare('CREATE TABLE a (b)');
		db.close();
		throws(() => statement.get(), TypeError, 'This statement does not return data. Use run() instead');
		throws(() => statement.columns(), TypeError, 'The columns() method is only for statements that return data');
	});

	it('says that the database is closed before it looks at parameters', () => {
		const db = memory();
		const statement = db.prepare('SELECT ?');
		db.close();
		throws(() => statement.get(Symbol('x'), 2), TypeError, CLOSED);
	});

	it('keeps the properties and the toggles of a statement', () => {
		const db = memory();
		const statement = db.prepare('SELECT 1');
		db.close();
		assert.equal(statement.source, 'SELECT 1');
		assert.equal(statement.database, db);
		assert.equal(statement.reader, true);
		assert.equal(statement.readonly, true);
		assert.equal(statement.busy, false);
		assert.equal(statement.pluck(), statement);
		assert.equal(statement.raw(), statement);
		assert.equal(statement.expand(), statement);
		assert.equal(statement.safeIntegers(), statement);
	});

	it('leaves a finished iterator finished', () => {
		const db = filled(memory());
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		for (const row of iterator) assert.ok(row);
		db.close();
		assert.deepEqual(iterator.next(), { value: undefined, done: true });
		assert.deepEqual(iterator.return(), { value: undefined, done: true });
	});
});

describe('close(): while busy', () => {
	it('is refused while an iterator is open', () => {
		const db = filled(memory());
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		throws(() => db.close(), TypeError, BUSY);
		iterator.next();
		throws(() => db.close(), TypeError, BUSY);
		assert.equal(db.open, true);
		iterator.return();
		db.close();
		assert.equal(db.open, false);
	});

	it('is refused while an iterator is open even in unsafe mode', () => {
		const db = filled(memory()).unsafeMode();
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		throws(() => db.close(), TypeError, BUSY);
		iterator.return();
		db.close();
	});

	it('is refused inside a user function, and the statement goes on', () => {
		const db = memory();
		db.function('shut', () => {
			throws(() => db.close(), TypeError, BUSY);
			return 'still here';
		});
		assert.equal(db.prepare('SELECT shut()').pluck().get(), 'still here');
		assert.equal(db.open, true);
	});

	it('is allowed inside a transaction function, whose commit then finds it closed', () => {
		const db = memory('CREATE TABLE a (b)');
		throws(() => db.transaction(() => { db.close(); })(), TypeError, CLOSED);
		assert.equal(db.open, false);
	});
});

'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, filled, throws, throwsSqlite, throwsValue, BUSY } = require('./support');

const count = (db, table = 'a') => db.prepare(`SELECT count(*) FROM ${table}`).pluck().get();

describe('exec(): arguments', () => {
	for (const value of [undefined, null, 5, true, {}, ['SELECT 1'], new String('SELECT 1'), Buffer.from('SELECT 1')]) {
		it(`refuses ${value === null ? 'null' : typeof value === 'object' ? value.constructor.name : typeof value}`, () => {
			throws(() => memory().exec(value), TypeError, 'Expected first argument to be a string');
		});
	}

	it('refuses to be called with nothing', () => {
		throws(() => memory().exec(), TypeError, 'Expected first argument to be a string');
	});

	for (const sql of ['', ' \n\t', ';', ';;  ;', '-- nothing', '/* nothing */', '/* a */;-- b\n;']) {
		it(`does nothing for ${JSON.stringify(sql)}`, () => {
			const db = memory();
			assert.equal(db.exec(sql), db);
		});
	}
});

describe('exec(): running', () => {
	it('returns the database', () => {
		const db = memory();
		assert.equal(db.exec('CREATE TABLE a (b)'), db);
		assert.equal(db.exec('SELECT * FROM a'), db);
	});

	it('runs every statement in turn', () => {
		const db = memory();
		db.exec(`
			CREATE TABLE a (b);          -- a comment; with a semicolon
			INSERT INTO a VALUES (1), (2);
			/* INSERT INTO a VALUES (3); */
			UPDATE a SET b = b * 10;;
			INSERT INTO a VALUES ('; not a statement');
		`);
		assert.deepEqual(db.prepare('SELECT b FROM a').pluck().all(), [10, 20, '; not a statement']);
	});

	it('runs a last statement that has no semicolon', () => {
		const db = memory('CREATE TABLE a (b); INSERT INTO a VALUES (1)');
		assert.equal(count(db), 1);
	});

	it('runs statements that return rows to their end', () => {
		const db = memory('CREATE TABLE a (b)');
		db.exec('INSERT INTO a VALUES (1), (2), (3) RETURNING b; SELECT * FROM a; INSERT INTO a SELECT b FROM a RETURNING b');
		assert.equal(count(db), 6);
	});

	it('prepares each statement only after the ones before have run', () => {
		const db = memory('CREATE TABLE a (b); ALTER TABLE a ADD COLUMN c; INSERT INTO a (b, c) VALUES (1, 2)');
		assert.deepEqual(db.prepare('SELECT * FROM a').all(), [{ b: 1, c: 2 }]);
	});

	it('runs pragmas, transactions, triggers with bodies and virtual tables', () => {
		const db = memory();
		db.exec(`
			PRAGMA user_version = 4;
			BEGIN;
			CREATE TABLE a (b); CREATE TABLE log (c);
			CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO log VALUES (new.b); INSERT INTO log VALUES ('and'); END;
			INSERT INTO a VALUES ('x');
			COMMIT;
			CREATE VIRTUAL TABLE words USING fts5(body);
		`);
		assert.equal(db.pragma('user_version', { simple: true }), 4);
		assert.deepEqual(db.prepare('SELECT c FROM log').pluck().all(), ['x', 'and']);
		assert.equal(db.inTransaction, false);
	});

	it('leaves a transaction open that it was told to open', () => {
		const db = memory('CREATE TABLE a (b)');
		db.exec('BEGIN; INSERT INTO a VALUES (1)');
		assert.equal(db.inTransaction, true);
		db.exec('ROLLBACK');
		assert.equal(count(db), 0);
	});

	it('treats parameters that nobody can bind as NULL', () => {
		const db = memory('CREATE TABLE a (b, c, d); INSERT INTO a VALUES (?, @x, :y)');
		assert.deepEqual(db.prepare('SELECT * FROM a').get(), { b: null, c: null, d: null });
	});

	it('runs a script of many thousand statements', () => {
		const db = memory('CREATE TABLE a (b)');
		db.exec(`BEGIN;${'INSERT INTO a VALUES (1);'.repeat(20000)}COMMIT`);
		assert.equal(count(db), 20000);
	});

	it('calls user functions', () => {
		const db = memory();
		const seen = [];
		db.function('note', (x) => { seen.push(x); });
		db.exec("SELECT note('a'); SELECT note(2) FROM (VALUES (1), (2))");
		assert.deepEqual(seen, ['a', 2, 2]);
	});
});

describe('exec(): errors', () => {
	it('stops at the first error and keeps what ran before', () => {
		const db = memory();
		throwsSqlite(() => db.exec('CREATE TABLE a (b); INSERT INTO a VALUES (1); INSERT INTO nowhere VALUES (2); INSERT INTO a VALUES (3)'),
			'SQLITE_ERROR', 'no such table: nowhere');
		assert.deepEqual(db.prepare('SELECT b FROM a').pluck().all(), [1]);
	});

	it('stops at a syntax error without running the statement', () => {
		const db = memory('CREATE TABLE a (b)');
		throwsSqlite(() => db.exec('INSERT INTO a VALUES (1); INSERT INTO a VALUES (2) nonsense'), 'SQLITE_ERROR', 'near "nonsense": syntax error');
		assert.equal(count(db), 1);
	});

	it('throws constraint errors with their extended codes', () => {
		const db = memory('CREATE TABLE a (b UNIQUE NOT NULL CHECK (b < 10))');
		throwsSqlite(() => db.exec('INSERT INTO a VALUES (1); INSERT INTO a VALUES (1)'), 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: a.b');
		throwsSqlite(() => db.exec('INSERT INTO a VALUES (NULL)'), 'SQLITE_CONSTRAINT_NOTNULL', 'NOT NULL constraint failed: a.b');
		throwsSqlite(() => db.exec('INSERT INTO a VALUES (11)'), 'SQLITE_CONSTRAINT_CHECK', 'CHECK constraint failed: b < 10');
		assert.equal(count(db), 1);
	});

	it('leaves an open transaction open after an error', () => {
		const db = memory('CREATE TABLE a (b)');
		throwsSqlite(() => db.exec('BEGIN; INSERT INTO a VALUES (1); nonsense'), 'SQLITE_ERROR');
		assert.equal(db.inTransaction, true);
		db.exec('COMMIT');
		assert.equal(count(db), 1);
	});

	it('throws exactly what a user function threw and is not busy afterwards', () => {
		const db = memory('CREATE TABLE a (b)');
		const error = new Error('mine');
		db.function('f', () => { throw error; });
		throwsValue(() => db.exec('INSERT INTO a VALUES (1); SELECT f(); INSERT INTO a VALUES (2)'), error);
		assert.equal(count(db), 1);
		db.exec('INSERT INTO a VALUES (3)');
		assert.equal(count(db), 2);
	});
});

describe('exec(): while busy', () => {
	it('is refused while an iterator is open, whatever the SQL', () => {
		const db = filled(memory());
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		for (const sql of ['DELETE FROM entries', 'SELECT 1', '']) throws(() => db.exec(sql), TypeError, BUSY);
		iterator.next();
		throws(() => db.exec('SELECT 1'), TypeError, BUSY);
		iterator.return();
		db.exec('DELETE FROM entries');
		assert.equal(count(db, 'entries'), 0);
	});

	it('is refused inside a user function', () => {
		const db = memory('CREATE TABLE a (b)');
		db.function('f', () => { db.exec('INSERT INTO a VALUES (1)'); });
		throws(() => db.prepare('SELECT f()').get(), TypeError, BUSY);
		throws(() => db.exec('SELECT f()'), TypeError, BUSY);
		assert.equal(count(db), 0);
	});
});

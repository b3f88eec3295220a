'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { Database, freshPath, memory, filled, throws, throwsSqlite, BUSY } = require('./support');

describe('pragma(): arguments', () => {
	for (const value of [undefined, null, 5, {}, [], new String('user_version')]) {
		it(`refuses a first argument of ${value === null ? 'null' : typeof value} ${Array.isArray(value) ? '[]' : ''}${value instanceof String ? 'String' : ''}`, () => {
			throws(() => memory().pragma(value), TypeError, 'Expected first argument to be a string');
		});
	}

	it('refuses to be called with nothing', () => {
		throws(() => memory().pragma(), TypeError, 'Expected first argument to be a string');
	});

	for (const value of [5, true, 'simple', () => {}]) {
		it(`refuses options of type ${typeof value}`, () => {
			throws(() => memory().pragma('user_version', value), TypeError, 'Expected second argument to be an options object');
		});
	}

	for (const value of [undefined, null, 0, 1, 'true', {}]) {
		it(`wants a boolean for "simple", not ${value === undefined ? 'undefined' : JSON.stringify(value)}`, () => {
			throws(() => memory().pragma('user_version', { simple: value }), TypeError, 'Expected the "simple" option to be a boolean');
		});
	}

	it('accepts null and undefined for the options', () => {
		const db = memory();
		assert.deepEqual(db.pragma('user_version', null), [{ user_version: 0 }]);
		assert.deepEqual(db.pragma('user_version', undefined), [{ user_version: 0 }]);
	});

	it('refuses an empty string and bad syntax as SQLite does', () => {
		throwsSqlite(() => memory().pragma(''), 'SQLITE_ERROR', 'incomplete input');
		throwsSqlite(() => memory().pragma('foo bar baz'), 'SQLITE_ERROR', 'near "bar": syntax error');
	});

	it('refuses a second statement', () => {
		throws(() => memory().pragma('user_version; SELECT 1'), RangeError, 'The supplied SQL string contains more than one statement');
	});
});

describe('pragma(): results', () => {
	it('returns an array of row objects', () => {
		assert.deepEqual(memory().pragma('user_version'), [{ user_version: 0 }]);
		assert.deepEqual(memory().pragma('user_version', {}), [{ user_version: 0 }]);
		assert.deepEqual(memory().pragma('user_version', { simple: false }), [{ user_version: 0 }]);
	});

	it('returns the first column of the first row when "simple" is true', () => {
		assert.equal(memory().pragma('user_version', { simple: true }), 0);
		assert.equal(memory('CREATE TABLE a (b, c)').pragma('table_info(a)', { simple: true }), 0);
	});

	it('returns all rows and columns of a pragma that lists', () => {
		const db = memory('CREATE TABLE a (b INTEGER PRIMARY KEY, c TEXT NOT NULL DEFAULT \'x\')');
		assert.deepEqual(db.pragma('table_info(a)'), [
			{ cid: 0, name: 'b', type: 'INTEGER', notnull: 0, dflt_value: null, pk: 1 },
			{ cid: 1, name: 'c', type: 'TEXT', notnull: 1, dflt_value: "'x'", pk: 0 },
		]);
	});

	it('returns an empty array, or undefined when simple, for a pragma without rows', () => {
		const db = memory();
		assert.deepEqual(db.pragma('table_info(nowhere)'), []);
		assert.equal(db.pragma('table_info(nowhere)', { simple: true }), undefined);
		assert.deepEqual(db.pragma('user_version = 5'), []);
		assert.equal(db.pragma('user_version = 6', { simple: true }), undefined);
	});

	it('returns nothing for a pragma that SQLite does not know', () => {
		assert.deepEqual(memory().pragma('no_such_pragma'), []);
		assert.equal(memory().pragma('no_such_pragma = 5', { simple: true }), undefined);
	});

	it('sets and reads values', () => {
		const db = memory();
		db.pragma('cache_size = 3200');
		assert.equal(db.pragma('cache_size', { simple: true }), 3200);
		db.pragma('user_version = -5');
		assert.equal(db.pragma('user_version', { simple: true }), -5);
		db.pragma('application_id(77)');
		assert.equal(db.pragma('application_id', { simple: true }), 77);
	});

	it('returns the value that a setting pragma returns', () => {
		const db = new Database(freshPath());
		assert.equal(db.pragma('journal_mode = WAL', { simple: true }), 'wal');
		assert.deepEqual(db.pragma('journal_mode = DELETE'), [{ journal_mode: 'delete' }]);
		db.close();
	});

	it('reaches attached schemas by name', () => {
		const db = memory("ATTACH ':memory:' AS other");
		db.pragma('other.user_version = 9');
		assert.equal(db.pragma('other.user_version', { simple: true }), 9);
		assert.equal(db.pragma('main.user_version', { simple: true }), 0);
	});

	it('ignores a trailing semicolon and comments', () => {
		assert.equal(memory().pragma('user_version; -- nothing', { simple: true }), 0);
		assert.equal(memory().pragma('user_version /* nothing */;', { simple: true }), 0);
	});

	it('returns integers as bigints after defaultSafeIntegers()', () => {
		const db = memory().defaultSafeIntegers();
		assert.equal(db.pragma('user_version', { simple: true }), 0n);
		assert.deepEqual(db.pragma('user_version'), [{ user_version: 0n }]);
	});

	it('sees the effect of a pragma at once: foreign keys', () => {
		const db = memory('CREATE TABLE a (b PRIMARY KEY); CREATE TABLE c (d REFERENCES a(b))');
		const insert = db.prepare('INSERT INTO c VALUES (1)');
		db.pragma('foreign_keys = ON');
		throwsSqlite(() => insert.run(), 'SQLITE_CONSTRAINT_FOREIGNKEY', 'FOREIGN KEY constraint failed');
		db.pragma('foreign_keys = OFF');
		assert.equal(insert.run().changes, 1);
	});

	it('throws the error of a pragma that fails', () => {
		const db = memory('BEGIN');
		throwsSqlite(() => db.pragma('synchronous = OFF'), 'SQLITE_ERROR', 'Safety level may not be changed inside a transaction');
		throwsSqlite(() => db.pragma('nowhere.user_version'), 'SQLITE_ERROR', 'unknown database nowhere');
	});
});

describe('pragma(): while busy', () => {
	it('is refused while an iterator is open, and works after it', () => {
		const db = filled(memory());
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		throws(() => db.pragma('user_version'), TypeError, BUSY);
		iterator.next();
		throws(() => db.pragma('user_version'), TypeError, BUSY);
		iterator.return();
		assert.equal(db.pragma('user_version', { simple: true }), 0);
	});

	it('is refused inside a user function', () => {
		const db = memory();
		db.function('f', () => db.pragma('user_version', { simple: true }));
		throws(() => db.prepare('SELECT f()').get(), TypeError, BUSY);
	});
});

'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { GENERATION, memory, filled, throws, throwsSqlite, BUSY } = require('./support');

const NONE = 'The supplied SQL string contains no statements';
const MANY = 'The supplied SQL string contains more than one statement';
const STRING = 'Expected first argument to be a string';

describe('prepare(): arguments', () => {
	for (const [title, value] of [['undefined', undefined], ['null', null], ['a number', 5], ['a boolean', true], ['an object', {}],
		['an array', ['SELECT 1']], ['a String object', new String('SELECT 1')], ['a buffer', Buffer.from('SELECT 1')], ['a symbol', Symbol('x')]]) {
		it(`refuses ${title}`, () => throws(() => memory().prepare(value), TypeError, STRING));
	}

	it('refuses to be called with nothing', () => throws(() => memory().prepare(), TypeError, STRING));

	for (const sql of ['', ' ', ';', ' ;; ; ', '-- comment', '/* comment */', '/* one */ ; -- two\n;', '\n\t\r\f\v']) {
		it(`finds no statement in ${JSON.stringify(sql)}`, () => throws(() => memory().prepare(sql), RangeError, NONE));
	}

	for (const sql of ['SELECT 1; SELECT 2', 'SELECT 1;;SELECT 2', 'SELECT 1; x', 'SELECT 1; -- a\n SELECT 2', 'SELECT 1; /* a */ SELECT 2', 'SELECT 1; -', 'SELECT 1; /']) {
		it(`finds more than one statement in ${JSON.stringify(sql)}`, () => throws(() => memory().prepare(sql), RangeError, MANY));
	}

	for (const sql of ['SELECT 1;', 'SELECT 1 ; ; ;', ' \n SELECT 1', ';; SELECT 1', 'SELECT 1; -- a', 'SELECT 1; -- a\n', 'SELECT 1; /* a */', 'SELECT 1; /* a', '/* a */ SELECT 1',
		'-- a\nSELECT 1', 'SELECT 1 -- ; SELECT 2', "SELECT 1 WHERE ';' = ';'", 'SELECT 1; /* ; SELECT 2 */ -- ; SELECT 3']) {
		it(`finds one statement in ${JSON.stringify(sql)}`, () => {
			const statement = memory().prepare(sql);
			assert.equal(statement.source, sql);
			assert.equal(statement.pluck().get(), 1);
		});
	}

	it('does not run the first of two statements', () => {
		const db = memory();
		throws(() => db.prepare('CREATE TABLE a (b); SELECT 2'), RangeError, MANY);
		throwsSqlite(() => db.prepare('SELECT * FROM a'), 'SQLITE_ERROR', 'no such table: a');
	});

	it('looks at the first statement before it counts them', () => {
		throwsSqlite(() => memory().prepare('SELECT * FROM nowhere; SELECT 2'), 'SQLITE_ERROR', 'no such table: nowhere');
	});
});

describe('prepare(): errors of SQLite', () => {
	for (const [sql, message] of [
		['SELECT', 'incomplete input'],
		['CHOOSE 1', 'near "CHOOSE": syntax error'],
		['SELECT * FROM nowhere', 'no such table: nowhere'],
		['SELECT unheard', 'no such column: unheard'],
		['SELECT unheard()', 'no such function: unheard'],
		['SELECT abs(1, 2, 3)', 'wrong number of arguments to function abs()'],
		["SELECT 'unclosed", 'unrecognized token: "\'unclosed"'],
		['INSERT INTO a VALUES (1, 2)', 'table a has 1 columns but 2 values were supplied'],
		['CREATE TABLE a (c)', 'table a already exists'],
		['SELECT b FROM a AS x JOIN a AS y', 'ambiguous column name: b'],
	]) {
		it(`refuses ${sql}`, () => {
			throwsSqlite(() => memory('CREATE TABLE a (b)').prepare(sql), 'SQLITE_ERROR', message);
		});
	}

	it('leaves the database usable', () => {
		const db = memory();
		for (let i = 0; i < 100; ++i) throwsSqlite(() => db.prepare('SELECT * FROM nowhere'), 'SQLITE_ERROR');
		assert.equal(db.prepare('SELECT 1').pluck().get(), 1);
		db.close();
	});
});

describe('prepare(): the statement', () => {
	it('has the documented properties', () => {
		const db = memory('CREATE TABLE a (b)');
		const read = db.prepare('SELECT * FROM a');
		assert.equal(read.constructor.name, 'Statement');
		assert.equal(read.source, 'SELECT * FROM a');
		assert.equal(read.database, db);
		assert.equal(read.reader, true);
		assert.equal(read.readonly, true);
		assert.equal(read.busy, false);
	});

	it('lists its properties as own and enumerable', () => {
		const statement = memory().prepare('SELECT 1');
		// The order in which V8 lists them depends on its version.
		assert.deepEqual(Object.keys(statement).sort(), ['busy', 'database', 'reader', 'readonly', 'source']);
	});

	it('does not let source, database, reader and readonly be assigned or deleted', () => {
		const statement = memory().prepare('SELECT 1');
		for (const key of ['source', 'database', 'reader', 'readonly']) {
			assert.throws(() => { statement[key] = 'changed'; }, TypeError, key);
			assert.throws(() => { delete statement[key]; }, TypeError, key);
			assert.notEqual(statement[key], 'changed');
		}
	});

	it('lets a program add properties of its own', () => {
		const statement = memory().prepare('SELECT 1');
		statement.label = 'mine';
		assert.equal(statement.label, 'mine');
	});

	for (const [sql, reader, readonly] of [
		['SELECT 1', true, true],
		['SELECT * FROM a', true, true],
		['VALUES (1), (2)', true, true],
		['WITH x AS (SELECT 1) SELECT * FROM x', true, true],
		['EXPLAIN SELECT 1', true, true],
		['EXPLAIN QUERY PLAN DELETE FROM a', true, false],
		['INSERT INTO a VALUES (1)', false, false],
		['INSERT INTO a VALUES (1) RETURNING b', true, false],
		['UPDATE a SET b = 2', false, false],
		['UPDATE a SET b = 2 RETURNING *', true, false],
		['DELETE FROM a', false, false],
		['DELETE FROM a RETURNING b', true, false],
		['REPLACE INTO a VALUES (1)', false, false],
		['CREATE TABLE c (d)', false, false],
		['DROP TABLE a', false, false],
		['BEGIN', false, true],
		['BEGIN IMMEDIATE', false, false],
		['BEGIN EXCLUSIVE', false, false],
		['COMMIT', false, true],
		['ROLLBACK', false, true],
		['SAVEPOINT s', false, true],
		['RELEASE s', false, true],
		['PRAGMA user_version', true, true],
		["ATTACH ':memory:' AS other", false, true],
		['VACUUM', false, false],
		['ANALYZE', false, false],
	]) {
		it(`knows that ${sql} is ${reader ? 'a' : 'no'} reader and ${readonly ? '' : 'not '}readonly`, () => {
			const statement = memory('CREATE TABLE a (b)').prepare(sql);
			assert.equal(statement.reader, reader);
			assert.equal(statement.readonly, readonly);
		});
	}

	it('cannot be made with its constructor', () => {
		const { constructor } = memory().prepare('SELECT 1');
		const message = 'Statements can only be constructed by the db.prepare() method';
		throws(() => new constructor('SELECT 1'), TypeError, message);
		throws(() => new constructor(), TypeError, message);
	});

	it('refuses methods called on something that is no statement', () => {
		const statement = memory().prepare('SELECT 1');
		for (const method of ['run', 'get', 'all', 'iterate', 'bind', 'pluck', 'expand', 'raw', 'safeIntegers', 'columns']) {
			assert.throws(() => statement[method].call({}), TypeError, method);
			assert.throws(() => statement[method].call(statement.database), TypeError, method);
			assert.throws(() => statement[method].call(undefined), TypeError, method);
		}
	});

	it('is a new one for every call, also for the same SQL', () => {
		const db = memory();
		assert.notEqual(db.prepare('SELECT 1'), db.prepare('SELECT 1'));
	});

	it('prints as its SQL since 13, and as an object before', () => {
		assert.equal(memory().prepare('SELECT 1').toString(), GENERATION < 13 ? '[object Object]' : 'SELECT 1');
	});

	if (GENERATION >= 13) it('prints with what was bound for good, while the database is open', () => {
		const db = memory();
		const source = ' SELECT ? AS a, @b AS b -- end';
		const statement = db.prepare(source);
		statement.get(7, { b: 'x' });
		assert.equal(`${statement}`, source);
		statement.bind("it's", { b: Buffer.from([1, 2]) });
		assert.equal(`${statement}`, " SELECT 'it''s' AS a, x'0102' AS b -- end");
		assert.equal(`${db.prepare('SELECT ?').bind(null)}`, 'SELECT NULL');
		db.close();
		assert.equal(`${statement}`, source);
	});

	it('sees a table that was changed after it was prepared', () => {
		const db = memory('CREATE TABLE a (b); INSERT INTO a VALUES (1)');
		const statement = db.prepare('SELECT * FROM a');
		assert.deepEqual(statement.all(), [{ b: 1 }]);
		db.exec("ALTER TABLE a ADD COLUMN c DEFAULT 'x'");
		assert.deepEqual(statement.all(), [{ b: 1, c: 'x' }]);
		assert.deepEqual(statement.get(), { b: 1, c: 'x' });
		assert.deepEqual([...statement.iterate()], [{ b: 1, c: 'x' }]);
		db.exec('ALTER TABLE a RENAME COLUMN b TO z');
		assert.deepEqual(statement.get(), { z: 1, c: 'x' });
		db.exec('ALTER TABLE a DROP COLUMN z');
		assert.deepEqual(statement.all(), [{ c: 'x' }]);
	});

	it('fails once its table is gone and works again when the table is back', () => {
		const db = memory('CREATE TABLE a (b)');
		const statement = db.prepare('SELECT * FROM a');
		db.exec('DROP TABLE a');
		throwsSqlite(() => statement.all(), 'SQLITE_ERROR', 'no such table: a');
		db.exec('CREATE TABLE a (c); INSERT INTO a VALUES (5)');
		assert.deepEqual(statement.all(), [{ c: 5 }]);
	});

	it('keeps its database alive', () => {
		const statement = (() => memory('CREATE TABLE a (b); INSERT INTO a VALUES (3)').prepare('SELECT b FROM a'))();
		if (global.gc) global.gc();
		assert.deepEqual(statement.get(), { b: 3 });
	});

	it('prepares very long SQL', () => {
		const sql = `SELECT 1 WHERE 1 IN (${Array.from({ length: 50000 }, (_, i) => i).join(',')})`;
		assert.equal(memory().prepare(sql).pluck().get(), 1);
	});

	it('prepares a thousand statements that stay usable', () => {
		const db = memory();
		const statements = Array.from({ length: 1000 }, (_, i) => db.prepare(`SELECT ${i}`).pluck());
		assert.deepEqual(statements.map((s) => s.get()), Array.from({ length: 1000 }, (_, i) => i));
	});
});

describe('prepare(): while busy', () => {
	it('is allowed while an iterator is open', () => {
		const db = filled(memory());
		for (const row of db.prepare('SELECT i FROM entries').iterate()) {
			assert.equal(db.prepare('SELECT i FROM entries WHERE i = ?').pluck().get(row.i), row.i);
		}
	});

	it('is refused inside a user function', () => {
		const db = memory();
		db.function('f', () => { db.prepare('SELECT 1'); });
		throws(() => db.prepare('SELECT f()').get(), TypeError, BUSY);
		throws(() => db.exec('SELECT f()'), TypeError, BUSY);
		assert.equal(db.prepare('SELECT 1').pluck().get(), 1);
	});
});

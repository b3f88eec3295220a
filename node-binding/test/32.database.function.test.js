'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { Database, memory, filled, throws, throwsSqlite, throwsValue, BUSY } = require('./support');

const one = (db, sql, ...parameters) => db.prepare(sql).pluck().get(...parameters);
const withLength = (length) => Object.defineProperty(() => 1, 'length', { value: length });
const fn = () => 1;

describe('function(): arguments', () => {
	it('returns the database', () => {
		const db = memory();
		assert.equal(db.function('f', fn), db);
		assert.equal(db.function('f', {}, fn), db);
	});

	for (const [title, parameters, message] of [
		['nothing', [], 'Expected first argument to be a string'],
		['a name that is a number', [5, fn], 'Expected first argument to be a string'],
		['a name that is null', [null, fn], 'Expected first argument to be a string'],
		['a function alone', [fn], 'Expected first argument to be a string'],
		['a String object for a name', [new String('f'), fn], 'Expected first argument to be a string'],
		['a name alone', ['f'], 'Expected last argument to be a function'],
		['options without a function', ['f', {}], 'Expected last argument to be a function'],
		['no function', ['f', {}, null], 'Expected last argument to be a function'],
		['an object for a function', ['f', {}, {}], 'Expected last argument to be a function'],
		['a number for the options', ['f', 5, fn], 'Expected second argument to be an options object'],
		['a string for the options', ['f', 'x', fn], 'Expected second argument to be an options object'],
		['true for the options', ['f', true, fn], 'Expected second argument to be an options object'],
		['an empty name', ['', fn], 'User-defined function name cannot be an empty string'],
		['an empty name with options', ['', {}, fn], 'User-defined function name cannot be an empty string'],
	]) {
		it(`refuses ${title}`, () => throws(() => memory().function(...parameters), TypeError, message));
	}

	it('accepts null and undefined for the options', () => {
		const db = memory();
		db.function('f', null, fn).function('g', undefined, fn);
		assert.equal(one(db, 'SELECT f() + g()'), 2);
	});

	for (const option of ['varargs', 'deterministic', 'directOnly', 'safeIntegers']) {
		for (const value of [undefined, null, 0, 1, 'true']) {
			it(`wants a boolean for "${option}", not ${value === undefined ? 'undefined' : JSON.stringify(value)}`, () => {
				throws(() => memory().function('f', { [option]: value }, fn), TypeError, `Expected the "${option}" option to be a boolean`);
			});
		}
	}

	for (const length of [-1, 1.5, NaN, Infinity, '2', null, undefined]) {
		it(`refuses a function whose length is ${typeof length} ${String(length)}`, () => {
			throws(() => memory().function('f', withLength(length)), TypeError, 'Expected function.length to be a positive integer');
		});
	}

	it('refuses a function of more than 100 parameters, unless it takes any number', () => {
		throws(() => memory().function('f', withLength(101)), RangeError, 'User-defined functions cannot have more than 100 arguments');
		assert.equal(memory().function('f', withLength(100)).open, true);
		assert.equal(memory().function('f', { varargs: true }, withLength(101)).open, true);
	});

	it('takes names of 255 bytes and none longer', () => {
		const db = memory();
		db.function('x'.repeat(255), () => 'long');
		assert.equal(one(db, `SELECT ${'x'.repeat(255)}()`), 'long');
		// The code of this error is whatever SQLite last had on the connection.
		throws(() => db.function('x'.repeat(256), fn), Database.SqliteError);
		assert.equal(one(db, 'SELECT 1'), 1);
	});

	it('takes names of any script, quoted in SQL where needed', () => {
		const db = memory();
		db.function('größe', () => 'g').function('two words', () => 't').function('select', () => 's');
		assert.equal(one(db, 'SELECT größe()'), 'g');
		assert.equal(one(db, 'SELECT "two words"()'), 't');
		assert.equal(one(db, 'SELECT "select"()'), 's');
	});

	it('compares names without regard to case', () => {
		const db = memory();
		db.function('MyName', () => 1);
		assert.equal(one(db, 'SELECT myname() + MYNAME()'), 2);
	});
});

describe('function(): calls', () => {
	it('takes as many arguments as the function has parameters', () => {
		const db = memory();
		db.function('plus', (a, b) => a + b);
		assert.equal(one(db, 'SELECT plus(?, ?)', 12, 4), 16);
		assert.equal(one(db, 'SELECT plus(?, ?)', 'foo', 'bar'), 'foobar');
		for (const sql of ['SELECT plus()', 'SELECT plus(1)', 'SELECT plus(1, 2, 3)']) {
			throwsSqlite(() => db.prepare(sql), 'SQLITE_ERROR', 'wrong number of arguments to function plus()');
		}
	});

	it('counts parameters up to the first default or rest parameter', () => {
		const db = memory();
		db.function('d', (a, b = 5) => [a, b].join());
		db.function('r', (a, ...rest) => rest.length);
		assert.equal(one(db, "SELECT d('x')"), 'x,5');
		assert.equal(one(db, "SELECT r('x')"), 0);
		throwsSqlite(() => db.prepare("SELECT d('x', 6)"), 'SQLITE_ERROR', 'wrong number of arguments to function d()');
	});

	it('tells functions of one name apart by their number of arguments', () => {
		const db = memory();
		db.function('f', () => 'none').function('f', (a) => `one ${a}`).function('f', (a, b) => `two ${a} ${b}`);
		assert.deepEqual(db.prepare("SELECT f(), f('x'), f('x', 'y')").raw().get(), ['none', 'one x', 'two x y']);
	});

	it('replaces a function of the same name and number of arguments', () => {
		const db = memory();
		db.function('f', () => 'old').function('f', (a) => `one ${a}`);
		const statement = db.prepare('SELECT f()').pluck();
		assert.equal(statement.get(), 'old');
		db.function('f', () => 'new');
		assert.equal(statement.get(), 'new');
		assert.equal(one(db, "SELECT f('x')"), 'one x');
	});

	it('takes any number of arguments with varargs', () => {
		const db = memory();
		db.function('count_them', { varargs: true }, (...all) => all.length);
		assert.deepEqual(db.prepare(`SELECT count_them(), count_them(1), count_them(1, 2, 3, 4, 5), count_them(${Array(100).fill('1').join()})`).raw().get(), [0, 1, 5, 100]);
	});

	it('ignores the length of the function with varargs', () => {
		const db = memory();
		db.function('f', { varargs: true }, (a, b) => `${a} ${b}`);
		assert.deepEqual(db.prepare("SELECT f(), f('x'), f('x', 'y', 'z')").raw().get(), ['undefined undefined', 'x undefined', 'x y']);
	});

	it('prefers a function with the exact number of arguments to one with varargs', () => {
		const db = memory();
		db.function('f', { varargs: true }, () => 'any').function('f', (a) => `one ${a}`);
		assert.deepEqual(db.prepare("SELECT f(), f('x'), f('x', 'y')").raw().get(), ['any', 'one x', 'any']);
	});

	it('passes on every kind of value', () => {
		const db = memory();
		const seen = [];
		db.function('see', { varargs: true }, (...all) => { seen.push(...all); });
		db.prepare("SELECT see(5, 1.5, 'text', x'00ff', NULL, '', x'', 9223372036854775807)").get();
		assert.deepEqual(seen, [5, 1.5, 'text', Buffer.from([0, 255]), null, '', Buffer.alloc(0), 9223372036854775807]);
		assert.ok(Buffer.isBuffer(seen[3]));
	});

	it('gives buffers that outlive the call and can be changed', () => {
		const db = memory();
		const kept = [];
		db.function('keep', (b) => { kept.push(b); b.fill(7); return b; });
		assert.deepEqual(db.prepare("SELECT hex(keep(column1)) FROM (VALUES (x'0102'), (x'03'))").pluck().all(), ['0707', '07']);
		assert.deepEqual(kept.map((b) => [...b]), [[7, 7], [7]]);
	});

	it('calls with undefined for this', () => {
		const db = memory();
		db.function('f', function f() { return String(this === undefined); });
		assert.equal(one(db, 'SELECT f()'), 'true');
	});

	for (const [title, value, type, back] of [
		['undefined as NULL', undefined, 'null', null],
		['null as NULL', null, 'null', null],
		['NaN as NULL', NaN, 'null', null],
		['a whole number as REAL', 5, 'real', 5],
		['minus zero', -0, 'real', -0],
		['Infinity', Infinity, 'real', Infinity],
		['a bigint as INTEGER', 5n, 'integer', 5],
		['the smallest int64', -9223372036854775808n, 'integer', -9223372036854775808],
		['text', 'a\0b é 🗝', 'text', 'a\0b é 🗝'],
		['an empty string', '', 'text', ''],
		['a buffer', Buffer.from([1, 2]), 'blob', Buffer.from([1, 2])],
		['an empty buffer', Buffer.alloc(0), 'blob', Buffer.alloc(0)],
		['a Uint8Array', new Uint8Array([1, 2]), 'blob', Buffer.from([1, 2])],
	]) {
		it(`returns ${title}`, () => {
			const db = memory();
			db.function('f', () => value);
			const row = db.prepare('SELECT f() AS value, typeof(f()) AS type').get();
			assert.equal(row.type, type);
			if (Buffer.isBuffer(back)) assert.deepEqual(row.value, back);
			else assert.ok(Object.is(row.value, back));
		});
	}

	for (const [title, value] of [['true', true], ['false', false], ['a symbol', Symbol('x')], ['an object', {}], ['an array', [1]], ['a Date', new Date()], ['a function', () => 1], ['a promise', Promise.resolve(1)], ['a String object', new String('x')]]) {
		it(`refuses to return ${title}`, () => {
			const db = memory();
			db.function('My_Name', () => value);
			throws(() => db.prepare('SELECT my_name()').get(), TypeError, 'User-defined function My_Name() returned an invalid value');
			assert.equal(one(db, 'SELECT 1'), 1);
		});
	}

	it('refuses to return a bigint that is no int64', () => {
		const db = memory();
		db.function('f', () => 2n ** 63n);
		throws(() => db.prepare('SELECT f()').get(), RangeError, 'User-defined function f() returned a bigint that was too big');
	});

	it('is called for every row, in WHERE, ORDER BY, CHECK and triggers', () => {
		const db = filled(memory());
		db.function('odd', (x) => x % 2);
		db.function('minus', (x) => -x);
		assert.deepEqual(db.prepare('SELECT i FROM entries WHERE odd(i) ORDER BY minus(i)').pluck().all(), [3, 1]);
		db.exec('CREATE TABLE log (x); CREATE TRIGGER t AFTER DELETE ON entries BEGIN INSERT INTO log VALUES (minus(old.i)); END; DELETE FROM entries WHERE odd(i)');
		assert.deepEqual(db.prepare('SELECT x FROM log').pluck().all(), [-1, -3]);
		db.exec('CREATE TABLE c (d CHECK (odd(d)))');
		throwsSqlite(() => db.exec('INSERT INTO c VALUES (2)'), 'SQLITE_CONSTRAINT_CHECK', 'CHECK constraint failed: odd(d)');
	});

	it('can be nested in itself', () => {
		const db = memory();
		db.function('inc', (x) => x + 1);
		assert.equal(one(db, 'SELECT inc(inc(inc(1)))'), 4);
	});

	it('can take the place of a function of SQLite', () => {
		const db = memory();
		db.function('abs', (x) => `mine ${x}`);
		assert.equal(one(db, 'SELECT abs(-1)'), 'mine -1');
		assert.equal(one(memory(), 'SELECT abs(-1)'), 1);
	});

	it('belongs to one database', () => {
		memory().function('f', fn);
		throwsSqlite(() => memory().prepare('SELECT f()'), 'SQLITE_ERROR', 'no such function: f');
	});

	it('can use another database', () => {
		const other = filled(memory());
		const db = memory();
		db.function('lookup', (i) => one(other, 'SELECT t FROM entries WHERE i = ?', i));
		assert.deepEqual(db.prepare('SELECT lookup(column1) FROM (VALUES (2), (1))').pluck().all(), ['text 2', 'text 1']);
	});
});

describe('function(): options', () => {
	it('is called once for constant arguments when deterministic', () => {
		const db = filled(memory(), 20);
		let calls = 0;
		db.function('f', { deterministic: true }, (x) => { calls += 1; return x; });
		db.prepare("SELECT * FROM entries WHERE t > f('a')").all();
		assert.equal(calls, 1);
		calls = 0;
		db.function('g', (x) => { calls += 1; return x; });
		db.prepare("SELECT * FROM entries WHERE t > g('a')").all();
		assert.equal(calls, 20);
	});

	it('can be indexed only when deterministic', () => {
		const db = filled(memory());
		db.function('d', { deterministic: true }, (x) => x * 2).function('n', (x) => x * 2);
		db.exec('CREATE INDEX ok ON entries (d(i))');
		throwsSqlite(() => db.exec('CREATE INDEX no ON entries (n(i))'), 'SQLITE_ERROR', 'non-deterministic functions prohibited in index expressions');
		assert.match(db.prepare('EXPLAIN QUERY PLAN SELECT * FROM entries WHERE d(i) = 4').get().detail, /USING INDEX ok/);
		assert.equal(one(db, 'SELECT i FROM entries WHERE d(i) = 4'), 2);
	});

	it('cannot be used from a schema when directOnly', () => {
		const db = memory('CREATE TABLE a (b)');
		db.function('direct', { directOnly: true }, (x) => x).function('open_to_all', (x) => x);
		assert.equal(one(db, 'SELECT direct(5)'), 5);
		db.exec('CREATE VIEW v AS SELECT direct(1) AS x; CREATE VIEW w AS SELECT open_to_all(1) AS x');
		throwsSqlite(() => db.prepare('SELECT * FROM v').get(), 'SQLITE_ERROR', 'unsafe use of direct()');
		assert.equal(one(db, 'SELECT x FROM w'), 1);
		db.exec('CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT direct(new.b); END');
		throwsSqlite(() => db.exec('INSERT INTO a VALUES (1)'), 'SQLITE_ERROR', 'unsafe use of direct()');
	});
});

describe('function(): exceptions', () => {
	for (const [title, value] of [['an error', new RangeError('mine')], ['a string', 'text'], ['a number', 0], ['false', false], ['null', null], ['undefined', undefined], ['a symbol', Symbol('x')]]) {
		it(`passes on ${title} as it is`, () => {
			const db = memory();
			db.function('f', () => { throw value; });
			throwsValue(() => db.prepare('SELECT f()').get(), value);
			throwsValue(() => db.prepare('SELECT f()').all(), value);
			throwsValue(() => [...db.prepare('SELECT f()').iterate()], value);
			throwsValue(() => db.prepare('SELECT f()').run(), value);
			throwsValue(() => db.exec('SELECT f()'), value);
			assert.equal(one(db, 'SELECT 1'), 1);
		});
	}

	it('undoes the statement that called it', () => {
		const db = memory('CREATE TABLE a (b)');
		db.function('f', (x) => { if (x === 3) throw new Error('mine'); return x; });
		throws(() => db.exec('INSERT INTO a SELECT f(column1) FROM (VALUES (1), (2), (3), (4))'), Error, 'mine');
		assert.equal(one(db, 'SELECT count(*) FROM a'), 0);
	});

	it('passes on an SqliteError of another database', () => {
		const db = memory();
		const other = memory('CREATE TABLE a (b UNIQUE); INSERT INTO a VALUES (1)');
		db.function('f', () => { other.exec('INSERT INTO a VALUES (1)'); });
		throwsSqlite(() => db.prepare('SELECT f()').get(), 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: a.b');
	});

	it('does not confuse a later error with an earlier exception', () => {
		const db = memory();
		db.function('f', () => { throw new Error('mine'); });
		throws(() => db.prepare('SELECT f()').get(), Error, 'mine');
		throwsSqlite(() => db.prepare('SELECT nowhere'), 'SQLITE_ERROR', 'no such column: nowhere');
		throwsSqlite(() => db.prepare('SELECT abs(-9223372036854775808)').get(), 'SQLITE_ERROR', 'integer overflow');
	});

	it('survives deep recursion inside the function', () => {
		const db = memory();
		db.function('f', () => { const down = () => down() + 1; return down(); });
		throws(() => db.prepare('SELECT f()').get(), RangeError, 'Maximum call stack size exceeded');
		assert.equal(one(db, 'SELECT 1'), 1);
	});
});

describe('function(): while busy', () => {
	it('cannot be registered while an iterator is open, even in unsafe mode', () => {
		const db = filled(memory()).unsafeMode();
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		throws(() => db.function('f', fn), TypeError, BUSY);
		iterator.return();
		db.function('f', fn);
	});

	it('cannot be registered inside a user function', () => {
		const db = memory();
		db.function('f', () => { db.function('g', fn); });
		throws(() => db.prepare('SELECT f()').get(), TypeError, BUSY);
	});

	it('checks its arguments before that', () => {
		const db = memory();
		const iterator = db.prepare('SELECT 1').iterate();
		throws(() => db.function(), TypeError, 'Expected first argument to be a string');
		iterator.return();
	});
});

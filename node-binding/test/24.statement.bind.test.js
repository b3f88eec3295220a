'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const vm = require('node:vm');
const { SqliteError, memory, filled, throws, throwsValue, BUSY, CLOSED } = require('./support');

const FEW = 'Too few parameter values were provided';
const MANY = 'Too many parameter values were provided';
const KIND = 'SQLite3 can only bind numbers, strings, bigints, buffers, and null';
const NAMED = 'Missing named parameters';
const TWO = 'You cannot specify named parameters in two different objects';
const PLAIN = 'Named parameters can only be passed within plain objects';

// Binds in each of the ways in which a statement takes parameters, and expects one result of all of them.
function everyWay(sql, parameters, check) {
	const db = memory();
	const ways = {
		get: () => db.prepare(sql).raw().get(...parameters),
		all: () => db.prepare(sql).raw().all(...parameters)[0],
		iterate: () => [...db.prepare(sql).raw().iterate(...parameters)][0],
		bind: () => db.prepare(sql).raw().bind(...parameters).get(),
		run: () => { db.prepare(sql).run(...parameters); return null; },
	};
	for (const [way, call] of Object.entries(ways)) check(call, way);
}
const binds = (sql, parameters, row) => everyWay(sql, parameters, (call, way) => {
	const result = call();
	if (way !== 'run') assert.deepEqual(result, row, way);
});
const refuses = (sql, parameters, type, message) => everyWay(sql, parameters, (call) => throws(call, type, message));

describe('parameters: positional', () => {
	it('can be given as arguments, as an array, as several arrays, or mixed', () => {
		for (const parameters of [[1, 'x', null], [[1, 'x', null]], [[1], ['x', null]], [1, ['x'], null], [[], 1, [], ['x', null], []]]) {
			binds('SELECT ?, ?, ?', parameters, [1, 'x', null]);
		}
	});

	it('may be none', () => {
		binds('SELECT 1', [], [1]);
		binds('SELECT 1', [[]], [1]);
		binds('SELECT 1', [{}], [1]);
		binds('SELECT 1', [[], {}, []], [1]);
	});

	for (const [sql, parameters] of [['SELECT ?', []], ['SELECT ?', [[]]], ['SELECT ?, ?', [1]], ['SELECT ?, ?', [[1]]], ['SELECT ?', [{}]], ['SELECT ?', [{ a: 1 }]]]) {
		it(`are too few in ${sql} with ${JSON.stringify(parameters)}`, () => refuses(sql, parameters, RangeError, FEW));
	}

	for (const [sql, parameters] of [['SELECT 1', [1]], ['SELECT ?', [1, 2]], ['SELECT ?', [[1, 2]]], ['SELECT ?', [[1], [2]]], ['SELECT ?', [[1], 2]], ['SELECT 1', [null]], ['SELECT 1', [undefined]], ['SELECT ?', [1, undefined]]]) {
		it(`are too many in ${sql} with ${JSON.stringify(parameters)}`, () => refuses(sql, parameters, RangeError, MANY));
	}

	it('take undefined, and holes of an array, for NULL', () => {
		binds('SELECT ?, ?', [undefined, undefined], [null, null]);
		binds('SELECT ?, ?, ?', [[1, , undefined]], [1, null, null]);
	});

	it('can be thousands', () => {
		const values = Array.from({ length: 5000 }, (_, i) => i);
		binds(`SELECT count(*), sum(column1), max(column1) FROM (VALUES ${values.map(() => '(?)').join(', ')})`, [values], [5000, 12497500, 4999]);
	});

	it('can be 32766 and no more', () => {
		const values = Array.from({ length: 32766 }, () => 1);
		const sql = (count) => `SELECT count(*) FROM (VALUES ${Array.from({ length: count }, () => '(?)').join(', ')})`;
		assert.equal(memory().prepare(sql(32766)).pluck().get(values), 32766);
		throws(() => memory().prepare(sql(32767)), SqliteError, 'too many SQL variables', 'SQLITE_ERROR');
		throws(() => memory().prepare('SELECT ?32767'), SqliteError, 'variable number must be between ?1 and ?32766', 'SQLITE_ERROR');
	});

	for (const [title, value] of [['true', true], ['false', false], ['a symbol', Symbol('x')], ['a function', () => 1], ['a Date', new Date()], ['a RegExp', /x/], ['a Map', new Map()],
		['a String object', new String('x')], ['a Number object', new Number(5)], ['an ArrayBuffer', new ArrayBuffer(4)], ['an object of a class', new (class A {})()],
		['an inherited object', Object.create({ a: 1 })]]) {
		it(`cannot be ${title}`, () => {
			refuses('SELECT ?', [value], TypeError, KIND);
			refuses('SELECT ?', [[value]], TypeError, KIND);
		});
	}

	it('cannot be an array or an object inside an array', () => {
		refuses('SELECT ?', [[[1]]], TypeError, KIND);
		refuses('SELECT ?', [[{}]], TypeError, KIND);
		refuses('SELECT ?', [[{ a: 1 }]], TypeError, KIND);
	});

	it('check the value before the number', () => {
		refuses('SELECT ?', [true, 2, 3], TypeError, KIND);
		refuses('SELECT ?, ?', [true], TypeError, KIND);
		refuses('SELECT ?', [1, true], TypeError, KIND);
	});

	it('can be several blobs among other values, and more of them than are usual', () => {
		const db = memory();
		const blobs = Array.from({ length: 40 }, (_, i) => Buffer.alloc(i * 2, i));
		const hex = blobs.map((blob) => blob.toString('hex').toUpperCase());
		const columns = (count) => Array.from({ length: count }, (_, i) => `hex(?) AS c${i}`).join(', ');
		db.exec('CREATE TABLE kept (id INTEGER PRIMARY KEY, a, b, c, d)');
		const insert = db.prepare('INSERT INTO kept VALUES (?, ?, ?, ?, ?)');
		for (let i = 0; i + 2 < blobs.length; ++i) insert.run(i, blobs[i], 'text', new Uint8Array(blobs[i + 1]), blobs[i + 2]);
		for (const row of db.prepare('SELECT id, hex(a) AS a, b, hex(c) AS c, hex(d) AS d FROM kept').all()) {
			assert.deepEqual(row, { id: row.id, a: hex[row.id], b: 'text', c: hex[row.id + 1], d: hex[row.id + 2] });
		}
		assert.deepEqual(db.prepare(`SELECT ${columns(40)}`).raw().get(...blobs), hex);
		db.exec(`CREATE TABLE wide (${Array.from({ length: 40 }, (_, i) => `c${i}`).join(', ')})`);
		db.prepare(`INSERT INTO wide VALUES (${Array(40).fill('?').join(', ')})`).run(...blobs);
		assert.deepEqual(db.prepare(`SELECT ${Array.from({ length: 40 }, (_, i) => `hex(c${i})`).join(', ')} FROM wide`).raw().get(), hex);
	});

	it('are not disturbed by what an object among them runs when it is looked at', () => {
		const db = memory('CREATE TABLE a (b, c); CREATE TABLE d (e)');
		const inner = db.prepare('INSERT INTO d VALUES (?)');
		const named = { get c() { inner.run(Buffer.from([9, 9, 9])); return 1; } };
		db.prepare('INSERT INTO a VALUES (?, @c + length(?))').run(named, Buffer.from([1, 2]), Buffer.from([3, 4, 5, 6]));
		assert.deepEqual(db.prepare('SELECT hex(b) AS b, c FROM a').get(), { b: '0102', c: 5 });
		throws(() => inner.run(Buffer.from([1]), Buffer.from([2])), RangeError, 'Too many parameter values were provided');
		throws(() => inner.run(Buffer.from([1]), Symbol('blob')), TypeError, 'SQLite3 can only bind numbers, strings, bigints, buffers, and null');
		throws(() => inner.run(Symbol('blob')), TypeError, 'SQLite3 can only bind numbers, strings, bigints, buffers, and null');
	});

	it('can be any typed array, of which the bytes in view are taken', () => {
		const bytes = new Uint8Array([9, 1, 2, 3, 9]);
		binds('SELECT ?', [Buffer.from([1, 2])], [Buffer.from([1, 2])]);
		binds('SELECT ?', [bytes.subarray(1, 4)], [Buffer.from([1, 2, 3])]);
		// Not a DataView: 12 takes it, 13 throws an Error that says "Invalid argument".
		binds('SELECT hex(?)', [new Uint16Array([0x0101, 0x0202])], ['01010202']);
		binds('SELECT typeof(?)', [new Float64Array(2)], ['blob']);
		binds('SELECT typeof(?)', [new Uint8Array(0)], ['blob']);
	});

	it('refuse a bigint that is no int64', () => {
		const message = 'The bound string, buffer, or bigint is too big';
		refuses('SELECT ?', [2n ** 63n], RangeError, message);
		refuses('SELECT ?', [[-(2n ** 63n) - 1n]], RangeError, message);
		refuses('SELECT @a', [{ a: 10n ** 30n }], RangeError, message);
		binds('SELECT typeof(?1), ?1 = 9223372036854775807', [{ 1: 2n ** 63n - 1n }], ['integer', 1]);
		binds('SELECT typeof(?1), ?1 = -9223372036854775808', [{ 1: -(2n ** 63n) }], ['integer', 1]);
	});

	it('copy buffers when they are bound', () => {
		const buffer = Buffer.from([1, 2, 3]);
		const statement = memory().prepare('SELECT hex(?)').pluck().bind(buffer);
		buffer.fill(0);
		assert.equal(statement.get(), '010203');
	});

	it('pass through what reading an array throws', () => {
		const error = new Error('mine');
		const array = [1, 2];
		Object.defineProperty(array, 1, { get() { throw error; } });
		const db = memory();
		throwsValue(() => db.prepare('SELECT ?, ?').get(array), error);
		throwsValue(() => db.prepare('SELECT ?, ?').bind(array), error);
	});

	it('take an array of another context', () => {
		binds('SELECT ?, ?', [vm.runInNewContext('[1, 2]')], [1, 2]);
	});
});

describe('parameters: numbered', () => {
	it('are named by their numbers', () => {
		binds('SELECT ?2, ?1, ?2', [{ 1: 'x', 2: 'y' }], ['y', 'x', 'y']);
		binds('SELECT ?1', [{ 1: 5 }], [5]);
	});

	it('are no anonymous parameters', () => {
		refuses('SELECT ?1', [5], RangeError, MANY);
		refuses('SELECT ?2, ?1', [1, 2], RangeError, MANY);
	});

	it('that are skipped count as anonymous ones', () => {
		binds('SELECT ?3', [{ 3: 'c' }, 'a', 'b'], ['c']);
		refuses('SELECT ?3', [{ 3: 'c' }], RangeError, FEW);
	});
});

describe('parameters: named', () => {
	it('can be written with @, : and $, and an object names them without', () => {
		binds('SELECT @a, :b, $c', [{ a: 1, b: 2, c: 3 }], [1, 2, 3]);
		binds('SELECT @a, :a, $a', [{ a: 1 }], [1, 1, 1]);
	});

	it('may be used several times', () => {
		binds('SELECT @a, @a, @b, @a', [{ a: 1, b: 2 }], [1, 1, 2, 1]);
	});

	it('leave properties alone that nobody names', () => {
		binds('SELECT @a', [{ a: 1, b: Symbol('never looked at'), get c() { throw new Error('never called'); } }], [1]);
	});

	it('are told apart by case and may be of any script', () => {
		binds('SELECT @a, @A, @été, @名', [{ a: 1, A: 2, été: 3, 名: 4 }], [1, 2, 3, 4]);
	});

	it('may be called like properties of Object.prototype when the object has them itself', () => {
		binds('SELECT @toString, @constructor', [{ toString: 1, constructor: 2 }], [1, 2]);
		refuses('SELECT @toString', [{}], RangeError, 'Missing named parameter "toString"');
		refuses('SELECT @hasOwnProperty', [{}], RangeError, 'Missing named parameter "hasOwnProperty"');
	});

	it('may be undefined or null', () => {
		binds('SELECT @a, @b', [{ a: undefined, b: null }], [null, null]);
	});

	it('may come from getters, and what those throw passes through', () => {
		binds('SELECT @a', [{ get a() { return 5; } }], [5]);
		const error = new Error('mine');
		throwsValue(() => memory().prepare('SELECT @a').get({ get a() { throw error; } }), error);
	});

	it('may come from an object without a prototype or of another context', () => {
		binds('SELECT @a', [Object.assign(Object.create(null), { a: 5 })], [5]);
		binds('SELECT @a', [vm.runInNewContext('({ a: 5 })')], [5]);
	});

	it('may come from a proxy, whose traps are used', () => {
		binds('SELECT @a', [new Proxy({ a: 5 }, {})], [5]);
	});

	it('must not be inherited', () => {
		refuses('SELECT @a', [Object.create({ a: 1 })], TypeError, PLAIN);
		class Row { constructor() { this.a = 1; } }
		refuses('SELECT @a', [new Row()], TypeError, PLAIN);
		refuses('SELECT @a', [new Date()], TypeError, PLAIN);
		refuses('SELECT @a', [new Map([['a', 1]])], TypeError, PLAIN);
		refuses('SELECT @a', [() => {}], TypeError, PLAIN);
	});

	it('report the first one that is missing', () => {
		refuses('SELECT @a, @b, @c', [{ a: 1 }], RangeError, 'Missing named parameter "b"');
		refuses('SELECT :été', [{}], RangeError, 'Missing named parameter "été"');
		refuses('SELECT ?5', [{}], RangeError, 'Missing named parameter "5"');
		refuses('SELECT @A', [{ a: 1 }], RangeError, 'Missing named parameter "A"');
	});

	it('are missing altogether without an object', () => {
		refuses('SELECT @a', [], TypeError, NAMED);
		refuses('SELECT @a', [[]], TypeError, NAMED);
		refuses('SELECT @a, ?', [5], TypeError, NAMED);
	});

	it('cannot be given by position', () => {
		refuses('SELECT @a', [5], RangeError, MANY);
		refuses('SELECT @a, @b', [[1, 2]], RangeError, MANY);
	});

	it('cannot come from two objects', () => {
		refuses('SELECT @a, @b', [{ a: 1, b: 2 }, { a: 1, b: 2 }], TypeError, TWO);
		refuses('SELECT @a', [{ a: 1 }, {}], TypeError, TWO);
		refuses('SELECT ?', [{}, {}], TypeError, TWO);
	});

	for (const [title, value] of [['true', true], ['a symbol', Symbol('x')], ['an object', {}], ['an array', [1]], ['a Date', new Date()]]) {
		it(`cannot be ${title}`, () => refuses('SELECT @a', [{ a: value }], TypeError, KIND));
	}
});

describe('parameters: mixed', () => {
	it('take the object from any place among the positional ones', () => {
		for (const parameters of [[{ a: 'A' }, 1, 2], [1, { a: 'A' }, 2], [1, 2, { a: 'A' }], [[1, 2], { a: 'A' }], [[1], { a: 'A' }, [2]]]) {
			binds('SELECT @a, ?, @a, ?', parameters, ['A', 1, 'A', 2]);
		}
	});

	it('count named and positional ones apart', () => {
		refuses('SELECT @a, ?', [{ a: 1 }], RangeError, FEW);
		refuses('SELECT @a, ?', [{ a: 1 }, 2, 3], RangeError, MANY);
		refuses('SELECT @a, ?', [{ a: 1 }, [2, 3]], RangeError, MANY);
		refuses('SELECT @a, ?', [{ b: 1 }, 2], RangeError, 'Missing named parameter "a"');
	});

	it('are refused for the names first, if too few are given', () => {
		refuses('SELECT @a, ?', [], TypeError, NAMED);
		refuses('SELECT @a, ?', [[]], TypeError, NAMED);
		refuses('SELECT ?3', [1], TypeError, NAMED);
	});

	it('take an object that is not plain for one of names', () => {
		for (const value of [new Date(0), new Map(), () => 1, /x/, new ArrayBuffer(1)]) {
			refuses('SELECT @a, ?', [value], TypeError, PLAIN);
			refuses('SELECT ?', [value], TypeError, KIND);
			refuses('SELECT @a, ?', [[value]], TypeError, KIND);
			refuses('SELECT @a', [[value]], TypeError, KIND);
		}
		refuses('SELECT @a', [2n ** 63n], RangeError, 'The bound string, buffer, or bigint is too big');
	});
});

describe('parameters: of one execution', () => {
	it('are forgotten afterwards', () => {
		const statement = memory().prepare('SELECT ?').pluck();
		assert.equal(statement.get(5), 5);
		throws(() => statement.get(), RangeError, FEW);
		assert.equal(statement.get(6), 6);
	});

	it('that were refused leave nothing behind', () => {
		const statement = memory().prepare('SELECT ?, ?').raw();
		throws(() => statement.get(1, true), TypeError, KIND);
		assert.deepEqual(statement.get(undefined, 2), [null, 2]);
		throws(() => statement.get(3), RangeError, FEW);
		assert.deepEqual(statement.get(4, 5), [4, 5]);
	});
});

describe('bind()', () => {
	it('returns the statement', () => {
		const statement = memory().prepare('SELECT ?');
		assert.equal(statement.bind(5), statement);
	});

	it('binds for good', () => {
		const statement = memory().prepare('SELECT ?, @a').raw().bind(1, { a: 2 });
		for (let i = 0; i < 3; ++i) {
			assert.deepEqual(statement.get(), [1, 2]);
			assert.deepEqual(statement.all(), [[1, 2]]);
			assert.deepEqual([...statement.iterate()], [[1, 2]]);
			statement.run();
		}
	});

	it('refuses further parameters', () => {
		const statement = memory().prepare('SELECT ?').bind(5);
		for (const method of ['get', 'all', 'iterate', 'run']) {
			throws(() => statement[method](5), TypeError, 'This statement already has bound parameters');
			throws(() => statement[method]([]), TypeError, 'This statement already has bound parameters');
			throws(() => statement[method](undefined), TypeError, 'This statement already has bound parameters');
		}
		assert.equal(statement.pluck().get(), 5);
	});

	it('can be invoked only once', () => {
		const statement = memory().prepare('SELECT ?').bind(5);
		throws(() => statement.bind(5), TypeError, 'The bind() method can only be invoked once per statement object');
		throws(() => statement.bind(), TypeError, 'The bind() method can only be invoked once per statement object');
	});

	it('can be repeated after it failed', () => {
		const statement = memory().prepare('SELECT ?').pluck();
		throws(() => statement.bind(), RangeError, FEW);
		throws(() => statement.bind(true), TypeError, KIND);
		throws(() => statement.bind(1, 2), RangeError, MANY);
		assert.equal(statement.bind(7).get(), 7);
	});

	it('counts for a statement without parameters too', () => {
		const statement = memory().prepare('SELECT 1').pluck().bind();
		assert.equal(statement.get(), 1);
		throws(() => statement.bind(), TypeError, 'The bind() method can only be invoked once per statement object');
		throws(() => statement.get([]), TypeError, 'This statement already has bound parameters');
	});

	it('works for statements that return nothing', () => {
		const db = memory('CREATE TABLE a (b)');
		const insert = db.prepare('INSERT INTO a VALUES (?)').bind('x');
		insert.run();
		insert.run();
		assert.deepEqual(db.prepare('SELECT b FROM a').pluck().all(), ['x', 'x']);
	});

	it('keeps its values after an error of the statement', () => {
		const db = memory('CREATE TABLE a (b UNIQUE)');
		const insert = db.prepare('INSERT INTO a VALUES (?)').bind('x');
		insert.run();
		assert.throws(() => insert.run());
		db.exec('DELETE FROM a');
		insert.run();
		assert.equal(db.prepare('SELECT b FROM a').pluck().get(), 'x');
	});

	it('keeps its values when the schema changes', () => {
		const db = filled(memory());
		const statement = db.prepare('SELECT t FROM entries WHERE i = ?').pluck().bind(2);
		assert.equal(statement.get(), 'text 2');
		db.exec('ALTER TABLE entries ADD COLUMN more; CREATE INDEX k ON entries (i)');
		assert.equal(statement.get(), 'text 2');
	});

	it('is refused inside a user function and on a closed database', () => {
		const db = memory();
		const statement = db.prepare('SELECT ?');
		db.function('f', () => { statement.bind(5); });
		throws(() => db.prepare('SELECT f()').get(), TypeError, BUSY);
		db.close();
		throws(() => statement.bind(5), TypeError, CLOSED);
	});

	it('is allowed for other statements while an iterator is open', () => {
		const db = filled(memory());
		const other = db.prepare('SELECT ?').pluck();
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		iterator.next();
		assert.equal(other.bind(5).get(), 5);
		iterator.return();
	});
});

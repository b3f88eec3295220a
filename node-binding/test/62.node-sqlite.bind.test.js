'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, row, get, throwsType, throwsValue, throwsState, throwsSqlite } = require('./node-sqlite-support');

describe('values', () => {
	const statement = () => memory().prepare('SELECT ?1 AS v, typeof(?1) AS t');
	const bytes = (...list) => new Uint8Array(list);

	for (const [title, given, value, type] of [
		['a whole number', 1, 1, 'real'],
		['a number', 1.5, 1.5, 'real'],
		['minus zero', -0, -0, 'real'],
		['a great number', 2 ** 60, 2 ** 60, 'real'],
		['infinity', Infinity, Infinity, 'real'],
		['NaN', NaN, null, 'null'],
		['a bigint', 10n, 10, 'integer'],
		['true', true, 1, 'integer'],
		['false', false, 0, 'integer'],
		['a text', 'text', 'text', 'text'],
		['an empty text', '', '', 'text'],
		['a text with a zero', 'a\0b', 'a\0b', 'text'],
		['a text of all planes', 'größe 😀', 'größe 😀', 'text'],
		['half a character', '\ud800', '\ufffd', 'text'],
		['a long text', 'ä'.repeat(5000), 'ä'.repeat(5000), 'text'],
		['null', null, null, 'null'],
		['undefined', undefined, null, 'null'],
		['a Uint8Array', bytes(1, 2), bytes(1, 2), 'blob'],
		['an empty Uint8Array', bytes(), bytes(), 'blob'],
		['a long Uint8Array', new Uint8Array(5000).fill(7), new Uint8Array(5000).fill(7), 'blob'],
		['a part of a Uint8Array', bytes(1, 2, 3, 4).subarray(1, 3), bytes(2, 3), 'blob'],
		['a Buffer', Buffer.from('ab'), bytes(97, 98), 'blob'],
		['a Uint16Array', new Uint16Array([1, 2]), bytes(1, 0, 2, 0), 'blob'],
		['a Float64Array', new Float64Array([0]), bytes(0, 0, 0, 0, 0, 0, 0, 0), 'blob'],
		['a DataView', new DataView(new ArrayBuffer(3), 1), bytes(0, 0), 'blob'],
		['an ArrayBuffer', bytes(5, 6).buffer, bytes(5, 6), 'blob'],
		['a SharedArrayBuffer', new SharedArrayBuffer(2), bytes(0, 0), 'blob'],
	]) {
		it(`are taken: ${title}`, () => {
			assert.deepEqual(statement().get(given), row({ v: value, t: type }));
			// Behind an object of names the rules are the same.
			assert.deepEqual(statement().get({}, given), row({ v: value, t: type }));
			assert.deepEqual(memory().prepare('SELECT $v AS v, typeof($v) AS t').get({ v: given }), row({ v: value, t: type }));
		});
	}

	it('are taken at the time of the call', () => {
		const given = new Uint8Array([1, 2, 3]);
		const iterator = memory().prepare('SELECT ?1 AS v UNION ALL SELECT ?1').iterate(given);
		iterator.next();
		given.fill(9);
		assert.deepEqual(iterator.next().value, row({ v: new Uint8Array([1, 2, 3]) }));
	});

	for (const [title, given] of [['a symbol', Symbol('x')], ['an object', {}], ['an array', [1]], ['a function', () => 1], ['a Date', new Date(0)], ['a Map', new Map()]]) {
		it(`are refused: ${title}`, () => {
			throwsType(() => get(memory(), 'SELECT ? AS a, ? AS b', 1, given), 'Provided value cannot be bound to SQLite parameter 2.');
			throwsType(() => get(memory(), 'SELECT $a AS a', { a: given }), 'Provided value cannot be bound to SQLite parameter 1.');
		});
	}

	it('are refused: a symbol, alone', () => {
		throwsType(() => statement().get(Symbol('x')), 'Provided value cannot be bound to SQLite parameter 1.');
	});

	it('are refused: a bigint of more than 64 bits', () => {
		for (const given of [2n ** 63n, -(2n ** 63n) - 1n]) {
			throwsValue(() => statement().get(given), 'BigInt value is too large to bind.');
			throwsValue(() => memory().prepare('SELECT $a AS a').get({ a: given }), 'BigInt value is too large to bind.');
		}
	});

	it('are refused where SQLite finds them too long', () => {
		const db = memory('', { limits: { length: 1000 } });
		throwsSqlite(() => get(db, 'SELECT ? AS a', 'x'.repeat(2000)), 18, 'string or blob too big', 'string or blob too big');
	});
});

describe('parameters by position', () => {
	it('get values in order; those that get none are null', () => {
		const statement = memory().prepare('SELECT ? AS a, ? AS b');
		assert.deepEqual(statement.get(1, 2), row({ a: 1, b: 2 }));
		assert.deepEqual(statement.get(1), row({ a: 1, b: null }));
		assert.deepEqual(statement.get(), row({ a: null, b: null }));
		assert.deepEqual(statement.get(undefined, 2), row({ a: null, b: 2 }));
		assert.deepEqual(statement.get(null, 2), row({ a: null, b: 2 }));
	});

	it('are not more than there are', () => {
		throwsSqlite(() => get(memory(), 'SELECT ? AS a', 1, 2), 25, 'column index out of range', 'column index out of range');
		throwsSqlite(() => get(memory(), 'SELECT 1', 1), 25, 'column index out of range');
		throwsSqlite(() => get(memory(), 'SELECT $a AS a', {}, 1), 25, 'column index out of range');
	});

	it('can be numbered', () => {
		assert.deepEqual(get(memory(), 'SELECT ?2 AS a, ?1 AS b', 'x', 'y'), row({ a: 'y', b: 'x' }));
		assert.deepEqual(get(memory(), 'SELECT ?1 AS a, ?1 AS b', 1), row({ a: 1, b: 1 }));
		assert.deepEqual(get(memory(), 'SELECT ?5 AS a, ? AS b', 1, 2, 3, 4, 5, 6), row({ a: 5, b: 6 }));
	});

	it('can be many', () => {
		const list = Array.from({ length: 300 }, (_, index) => index);
		const found = memory().prepare(`SELECT ${list.map((index) => `? AS c${index}`).join(', ')}`).get(...list);
		assert.deepEqual(Object.values(found), list);
	});

	it('are given by run(), all() and iterate() too', () => {
		const db = memory('CREATE TABLE t(a, b, c, d)');
		const insert = db.prepare('INSERT INTO t VALUES(?, ?, ?, ?)');
		insert.run(1n, 2n, 3n);
		insert.run(1n, 2n, 3n, 4n);
		const select = db.prepare('SELECT d FROM t WHERE a = ? AND b = ? AND c = ? ORDER BY d');
		assert.deepEqual(select.all(1n, 2n, 3n), [row({ d: null }), row({ d: 4 })]);
		assert.deepEqual([...select.iterate(1n, 2n, 3n)], [row({ d: null }), row({ d: 4 })]);
		assert.deepEqual(select.get(1n, 2n, 3n), row({ d: null }));
	});
});

describe('parameters by name', () => {
	const SQL = 'SELECT $a AS a, :b AS b, @c AS c, ? AS d';

	it('get values with and without their first character', () => {
		assert.deepEqual(get(memory(), SQL, { a: 1, b: 2, c: 3 }, 4), row({ a: 1, b: 2, c: 3, d: 4 }));
		assert.deepEqual(get(memory(), SQL, { $a: 1, ':b': 2, '@c': 3 }, 4), row({ a: 1, b: 2, c: 3, d: 4 }));
		assert.deepEqual(get(memory(), 'SELECT $k AS a, $k AS b', { k: 7 }), row({ a: 7, b: 7 }));
		assert.deepEqual(get(memory(), 'SELECT ?1 AS a', { '?1': 1 }), row({ a: 1 }));
	});

	it('are null without a value, and after a run with one', () => {
		const statement = memory().prepare(SQL);
		assert.deepEqual(statement.get({ a: 1, b: 2, c: 3 }, 4), row({ a: 1, b: 2, c: 3, d: 4 }));
		assert.deepEqual(statement.get({ a: 9 }), row({ a: 9, b: null, c: null, d: null }));
		assert.deepEqual(statement.get(), row({ a: null, b: null, c: null, d: null }));
		assert.deepEqual(statement.get(4), row({ a: null, b: null, c: null, d: 4 }));
	});

	it('take the last of two values', () => {
		assert.deepEqual(get(memory(), 'SELECT $a AS a', { $a: 1, a: 2 }), row({ a: 2 }));
	});

	it('are an object\'s own properties that can be seen', () => {
		const db = memory();
		assert.deepEqual(get(db, 'SELECT $a AS a', Object.create({ a: 1 })), row({ a: null }));
		assert.deepEqual(get(db, 'SELECT $a AS a', Object.defineProperty({}, 'a', { value: 1 })), row({ a: null }));
		assert.deepEqual(get(db, 'SELECT $a AS a', { [Symbol('a')]: 1 }), row({ a: null }));
		assert.deepEqual(get(db, 'SELECT $a AS a', row({ a: 1 })), row({ a: 1 }));
		assert.deepEqual(get(db, 'SELECT $a AS a', Object.assign(() => {}, { a: 1 })), row({ a: 1 }));
	});

	it('are not to be unknown, unless that is allowed', () => {
		const statement = memory().prepare('SELECT $a AS a');
		throwsState(() => statement.get({ b: 1 }), "Unknown named parameter 'b'");
		throwsState(() => statement.get([7]), "Unknown named parameter '0'");
		assert.equal(statement.setAllowUnknownNamedParameters(true), undefined);
		assert.deepEqual(statement.get({ a: 1, b: Symbol('x') }), row({ a: 1 }));
		statement.setAllowUnknownNamedParameters(false);
		throwsState(() => statement.get({ b: 1 }), "Unknown named parameter 'b'");
	});

	it('need their first character if that is wanted', () => {
		const statement = memory().prepare('SELECT $a AS a');
		assert.equal(statement.setAllowBareNamedParameters(false), undefined);
		throwsState(() => statement.get({ a: 1 }), "Unknown named parameter 'a'");
		assert.deepEqual(statement.get({ $a: 1 }), row({ a: 1 }));
		statement.setAllowBareNamedParameters(true);
		assert.deepEqual(statement.get({ a: 1 }), row({ a: 1 }));
	});

	it('cannot be told apart without it if they differ in it only', () => {
		const statement = memory().prepare('SELECT $k AS a, @k AS b');
		throwsState(() => statement.get({ k: 1 }), "Cannot create bare named parameter 'k' because of conflicting names '$k' and '@k'.");
		assert.deepEqual(statement.get({ $k: 1, '@k': 2 }), row({ a: 1, b: 2 }));
	});

	it('pass on what a getter throws', () => {
		const failure = new Error('no');
		assert.throws(() => get(memory(), 'SELECT $a AS a', { get a() { throw failure; } }), (error) => error === failure);
		const proxy = new Proxy({}, { ownKeys() { throw failure; } });
		assert.throws(() => get(memory(), 'SELECT $a AS a', proxy), (error) => error === failure);
	});
});

'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { sqlite3, ask, errorOf, checkError, memory, close } = require('./sqlite3-support');

// What SQLite makes of a parameter: its type and the parameter itself.
async function bound(db, ...given) {
	const { type, value } = await ask(db, 'get', 'SELECT typeof(?1) AS type, ?1 AS value', ...given);
	return [type, value];
}

test('each kind of value is bound as one of SQLite', async () => {
	const db = await memory();
	const bytes = Buffer.from([0, 1, 254, 255]);
	for (const [value, type, stored] of [
		[1, 'integer', 1],
		[-2147483648, 'integer', -2147483648],
		[2147483647, 'integer', 2147483647],
		[2147483648, 'real', 2147483648],
		[1e300, 'real', 1e300],
		[1.5, 'real', 1.5],
		[Infinity, 'real', Infinity],
		[NaN, 'null', null],
		['text', 'text', 'text'],
		['', 'text', ''],
		['zero\0byte', 'text', 'zero\0byte'],
		['grüße 🦎 ', 'text', 'grüße 🦎 '],
		[true, 'integer', 1],
		[false, 'integer', 0],
		[null, 'null', null],
		[undefined, 'null', null],
		[bytes, 'blob', bytes],
		[Buffer.alloc(0), 'blob', Buffer.alloc(0)],
		[new Uint8Array([7, 8]), 'blob', Buffer.from([7, 8])],
		[new Date(86400000), 'real', 86400000],
		[/a+b/g, 'text', '/a+b/g'],
	]) {
		assert.deepEqual(await bound(db, [value]), [type, stored], String(value));
		if (value !== undefined) assert.deepEqual(await bound(db, value), [type, stored], String(value));
	}
	await close(db);
});

test('other objects within a list are bound as a text that says so', async () => {
	const db = await memory();
	for (const value of [{ a: 1 }, [1, 2], new Map()]) assert.deepEqual(await bound(db, [value]), ['text', '[object Object]']);
	await close(db);
});

test('long texts and blobs are bound whole', async () => {
	const db = await memory();
	for (const length of [250, 251, 252, 253, 254, 255, 256, 257, 1000, 100000]) {
		for (const text of ['x'.repeat(length), 'ü'.repeat(length), `${'x'.repeat(length)}🦎`]) assert.deepEqual(await bound(db, text), ['text', text]);
		const blob = Buffer.alloc(length, 7);
		assert.deepEqual(await bound(db, blob), ['blob', blob]);
	}
	await close(db);
});

test('each kind of value of SQLite is one of JavaScript', async () => {
	const db = await memory();
	const row = await ask(db, 'get', "SELECT 1 AS i, -1.5 AS r, 'text' AS t, x'0102' AS b, NULL AS n, 9007199254740991 AS big, 9223372036854775807 AS huge, '' AS e, x'' AS z");
	assert.deepEqual(row, { i: 1, r: -1.5, t: 'text', b: Buffer.from([1, 2]), n: null, big: 9007199254740991, huge: 9223372036854775807, e: '', z: Buffer.alloc(0) });
	assert.ok(Buffer.isBuffer(row.b));
	assert.equal(typeof row.huge, 'number');
	await close(db);
});

test('parameters are given one by one or as an array', async () => {
	const db = await memory();
	const sql = 'SELECT ? AS a, ? AS b, ? AS c';
	const expected = { a: 1, b: 'two', c: null };
	assert.deepEqual(await ask(db, 'get', sql, 1, 'two', null), expected);
	assert.deepEqual(await ask(db, 'get', sql, [1, 'two', null]), expected);
	assert.deepEqual(await ask(db, 'get', sql, 1, 'two'), expected);
	assert.deepEqual(await ask(db, 'get', sql, [1, 'two']), expected);
	assert.deepEqual(await ask(db, 'get', sql, []), { a: null, b: null, c: null });
	assert.deepEqual(await ask(db, 'get', sql), { a: null, b: null, c: null });
	await close(db);
});

test('parameters are given by name with the character before it', async () => {
	const db = await memory();
	const sql = 'SELECT $a AS a, @b AS b, :c AS c, ?5 AS five';
	assert.deepEqual(await ask(db, 'get', sql, { $a: 1, '@b': 2, ':c': 3, 5: 4 }), { a: 1, b: 2, c: 3, five: 4 });
	assert.deepEqual(await ask(db, 'get', sql, { $a: 1 }), { a: 1, b: null, c: null, five: null });
	assert.deepEqual(await ask(db, 'get', sql, {}), { a: null, b: null, c: null, five: null });
	assert.deepEqual(await ask(db, 'get', 'SELECT $a AS x, $a AS y', { $a: 7 }), { x: 7, y: 7 });
	await close(db);
});

test('inherited names are parameters, too', async () => {
	const db = await memory();
	assert.deepEqual(await ask(db, 'get', 'SELECT $a AS a, $b AS b', Object.create({ $a: 1 }, { $b: { value: 2, enumerable: true } })), { a: 1, b: 2 });
	await close(db);
});

test('an array binds named parameters in their order', async () => {
	const db = await memory();
	assert.deepEqual(await ask(db, 'get', 'SELECT $a AS a, $b AS b', [1, 2]), { a: 1, b: 2 });
	await close(db);
});

test('a parameter that there is not is out of range', async () => {
	const db = await memory();
	for (const [sql, ...given] of [
		['SELECT ?', 1, 2],
		['SELECT ?', [1, 2]],
		['SELECT 1', 1],
		['SELECT $a', { $b: 1 }],
		['SELECT $a', { a: 1 }],
		['SELECT ?', { 2: 1 }],
	]) {
		for (const method of ['run', 'get', 'all']) {
			checkError(await errorOf(db, method, sql, ...given), sqlite3.RANGE, 'SQLITE_RANGE', 'column index out of range');
		}
	}
	await close(db);
});

test('undefined is no parameter, though it takes the place of one', async () => {
	const db = await memory();
	for (const given of [[undefined], [undefined, undefined], [[undefined]], [{ $a: undefined }]]) {
		assert.deepEqual(await ask(db, 'get', 'SELECT 1 AS one', ...given), { one: 1 });
	}
	assert.deepEqual(await ask(db, 'get', 'SELECT ? AS a, ? AS b', undefined, 2), { a: null, b: 2 });
	checkError(await errorOf(db, 'get', 'SELECT 1', null), sqlite3.RANGE, 'SQLITE_RANGE', 'column index out of range');
	const statement = db.prepare('SELECT ? AS a', 1);
	assert.deepEqual(await ask(statement, 'get', undefined), { a: null });
	statement.finalize();
	await close(db);
});

test('as many parameters as SQLite has are bound', async () => {
	const db = await memory();
	const values = Array.from({ length: 32766 }, (_, index) => index);
	const { total } = await ask(db, 'get', `SELECT ${'?+'.repeat(500)}0 AS total`, values.slice(0, 500));
	assert.equal(total, values.slice(0, 500).reduce((one, other) => one + other));
	assert.equal((await ask(db, 'get', `SELECT count(*) AS n FROM (VALUES ${values.map(() => '(?)')})`, values)).n, values.length);
	checkError(await errorOf(db, 'get', 'SELECT ?', Array.from({ length: 100000 }, () => 1)), sqlite3.RANGE, 'SQLITE_RANGE', 'column index out of range');
	await close(db);
});

test('what is bound stays as it was given', async () => {
	const db = await memory();
	const statement = db.prepare('SELECT ? AS text, ? AS blob');
	const blob = Buffer.from([1, 2, 3]);
	statement.bind('text', blob);
	blob.fill(9);
	for (let i = 0; i < 100; i += 1) await ask(db, 'get', 'SELECT ?', 'other'.repeat(i));
	assert.deepEqual(await ask(statement, 'get'), { text: 'text', blob: Buffer.from([1, 2, 3]) });
	statement.finalize();
	await close(db);
});

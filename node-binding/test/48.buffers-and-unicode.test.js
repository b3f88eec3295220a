'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, filled } = require('./support');

const one = (db, sql, ...parameters) => db.prepare(sql).pluck().get(...parameters);
const table = () => memory('CREATE TABLE a (id INTEGER PRIMARY KEY, b)');
function roundTrip(value) {
	const db = table();
	db.prepare('INSERT INTO a (b) VALUES (?)').run(value);
	return { db, back: one(db, 'SELECT b FROM a') };
}

describe('buffers', () => {
	it('keep all 256 byte values', () => {
		const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
		const { db, back } = roundTrip(bytes);
		assert.ok(bytes.equals(back));
		assert.equal(one(db, 'SELECT length(b) FROM a'), 256);
		assert.equal(one(db, 'SELECT hex(b) FROM a'), bytes.toString('hex').toUpperCase());
	});

	for (const size of [0, 1, 15, 16, 17, 1000, 4096, 65536, 1 << 20, 16 << 20]) {
		it(`may be ${size} bytes long`, () => {
			const bytes = Buffer.alloc(size, 'pattern');
			const { db, back } = roundTrip(bytes);
			assert.ok(Buffer.isBuffer(back));
			assert.equal(back.length, size);
			assert.ok(bytes.equals(back));
			assert.equal(one(db, 'SELECT typeof(b) FROM a'), 'blob');
		});
	}

	it('that are empty are not NULL', () => {
		assert.deepEqual(memory().prepare('SELECT ? IS NULL AS n, length(?) AS l').get(Buffer.alloc(0), Buffer.alloc(0)), { n: 0, l: 0 });
	});

	it('come back as Buffers of their own memory', () => {
		const db = table();
		db.prepare('INSERT INTO a (b) VALUES (?)').run(Buffer.from([1, 2, 3]));
		const statement = db.prepare('SELECT b FROM a').pluck();
		const first = statement.get();
		first.fill(9);
		assert.deepEqual([...statement.get()], [1, 2, 3]);
		db.exec('DELETE FROM a');
		db.close();
		assert.deepEqual([...first], [9, 9, 9]);
	});

	it('that come back in bulk do not overlap', () => {
		const db = table();
		const insert = db.prepare('INSERT INTO a (b) VALUES (?)');
		db.transaction(() => { for (let i = 0; i < 500; ++i) insert.run(Buffer.alloc(16, i % 256)); })();
		const all = db.prepare('SELECT b FROM a ORDER BY id').pluck().all();
		for (const buffer of all) assert.equal(buffer.length, 16);
		all[0].fill(255);
		all.slice(1).forEach((buffer, i) => assert.ok(buffer.equals(Buffer.alloc(16, (i + 1) % 256))));
	});

	it('own an ArrayBuffer that holds nothing else, however small they are', () => {
		const db = table();
		const insert = db.prepare('INSERT INTO a (b) VALUES (?)');
		for (const size of [1, 8, 63, 64, 65, 100]) insert.run(Buffer.alloc(size, size));
		const wanted = [1, 8, 63, 64, 65, 100].map((size) => ({ size, bytes: [...Buffer.alloc(size, size)] }));
		const shown = (blob) => ({ size: blob.buffer.byteLength, bytes: [...new Uint8Array(blob.buffer)] });
		const statement = db.prepare('SELECT b FROM a ORDER BY id');
		assert.deepEqual(statement.all().map((row) => shown(row.b)), wanted);
		assert.deepEqual([...statement.iterate()].map((row) => shown(row.b)), wanted);
		assert.deepEqual(statement.raw().all().map(([blob]) => shown(blob)), wanted);
		assert.deepEqual(statement.pluck().all().map(shown), wanted);
		assert.deepEqual(shown(db.prepare('SELECT b FROM a WHERE id = 2').expand().get().a.b), wanted[1]);
		for (const blob of statement.all()) assert.equal(Object.getPrototypeOf(blob), Buffer.prototype);
	});

	it('keep their order in rows with hundreds of them', () => {
		const columns = Array.from({ length: 700 }, (_, i) => `x'${i.toString(16).padStart(4, '0')}' AS c${i}`);
		const statement = memory().prepare(`SELECT ${columns.join(', ')}`).raw();
		const numbers = (row) => row.map((blob) => blob.readUInt16BE());
		const wanted = Array.from({ length: 700 }, (_, i) => i);
		assert.deepEqual(numbers(statement.get()), wanted);
		// Rows may be made in another way once there were many of them.
		for (let i = 0; i < 20; ++i) assert.deepEqual(numbers(statement.all()[0]), wanted);
	});

	it('are not disturbed by what a function reads from another database', () => {
		const [outer, inner] = [filled(memory(), 50), filled(memory(), 50)];
		const lookup = inner.prepare('SELECT b FROM entries WHERE i > 20');
		outer.function('look', () => lookup.all().length + lookup.get().b.length);
		const statement = outer.prepare('SELECT b, look() AS l, b AS again FROM entries');
		for (let round = 0; round < 3; ++round) {
			assert.deepEqual(statement.all().map((row) => [row.b[0], row.again[0]]), Array.from({ length: 50 }, (_, i) => [i + 1, i + 1]));
			assert.deepEqual([...statement.iterate()].map((row) => row.b[0]), Array.from({ length: 50 }, (_, i) => i + 1));
		}
	});

	it('compare with blobs in SQL', () => {
		const db = table();
		db.exec("INSERT INTO a (b) VALUES (x'01'), (x'02'), (x'0200')");
		assert.deepEqual(db.prepare('SELECT id FROM a WHERE b >= ?').pluck().all(Buffer.from([2])), [2, 3]);
		assert.equal(one(db, 'SELECT id FROM a WHERE b = ?', Buffer.from([2, 0])), 3);
		assert.equal(one(db, "SELECT ? = 'a'", Buffer.from('a')), 0);
	});

	it('of a pool are bound by their own bytes', () => {
		const small = Buffer.from('pooled');
		assert.notEqual(small.buffer.byteLength, small.length);
		assert.ok(roundTrip(small).back.equals(small));
		assert.ok(roundTrip(small.subarray(2, 4)).back.equals(Buffer.from('ol')));
	});

	it('of shared memory can be bound', () => {
		const shared = Buffer.from(new SharedArrayBuffer(4));
		shared.set([1, 2, 3, 4]);
		assert.deepEqual([...roundTrip(shared).back], [1, 2, 3, 4]);
	});
});

describe('text', () => {
	for (const [title, text] of [
		['ASCII', 'plain text'], ['an empty string', ''], ['Latin-1', 'naïve café ÿ'], ['two-byte characters', 'ключ ñ ß'], ['three-byte characters', '名前 한국어 ₿'],
		['four-byte characters', '🗝🎉\u{10ffff}'], ['combining characters, not normalized', 'e\u0301 é'], ['right-to-left text', 'שלום مرحبا'],
		['control characters', '\u0001\u0007\u001b\u007f\u0085\u2028\u2029'], ['a NUL inside', 'before\0after'], ['a NUL at the end', 'end\0'], ['only a NUL', '\0'],
		['a byte order mark', '\ufefftext'], ['noncharacters', '\ufffe\uffff'], ['quotes and backslashes', '\'"`\\\\'], ['line ends', 'a\r\nb\nc\r'],
	]) {
		it(`keeps ${title}`, () => {
			const { db, back } = roundTrip(text);
			assert.equal(back, text);
			assert.equal(one(db, 'SELECT CAST(b AS BLOB) FROM a').toString('utf8'), text);
			assert.equal(one(db, 'SELECT id FROM a WHERE b = ?', text), 1);
			db.function('same', (x) => x);
			assert.equal(one(db, 'SELECT same(b) FROM a'), text);
		});
	}

	it('is measured by SQLite in characters, up to a NUL', () => {
		const db = memory();
		assert.equal(one(db, 'SELECT length(?)', 'é🗝'), 2);
		assert.equal(one(db, 'SELECT length(?)', 'ab\0cd'), 2);
		assert.equal(one(db, 'SELECT octet_length(?)', 'ab\0cd'), 5);
	});

	it('may be long', () => {
		for (const unit of ['x', 'é', '🗝']) {
			const text = unit.repeat(1 << 20);
			assert.equal(roundTrip(text).back, text);
		}
	});

	it('that mixes narrow and wide characters comes back whole from any length', () => {
		const db = table();
		const insert = db.prepare('INSERT INTO a (b) VALUES (?)');
		const texts = Array.from({ length: 300 }, (_, i) => `${'a'.repeat(i)}${i % 3 === 0 ? '' : i % 3 === 1 ? 'é' : '🗝'}${'b'.repeat(i % 7)}`);
		db.transaction(() => { for (const text of texts) insert.run(text); })();
		assert.deepEqual(db.prepare('SELECT b FROM a ORDER BY id').pluck().all(), texts);
	});

	it('replaces lone surrogates by U+FFFD when it comes back', () => {
		// One U+FFFD for each surrogate, or for each byte of its encoding: that depends on the version of V8.
		for (const [text, pattern] of [['a\ud83db', /^a(\ufffd|\ufffd{3})b$/], ['\udc00', /^(\ufffd|\ufffd{3})$/], ['\udc00\ud800', /^(\ufffd{2}|\ufffd{6})$/]]) assert.match(roundTrip(text).back, pattern);
		assert.equal(roundTrip('\ud83d\udddd').back, '\u{1f5dd}');
	});

	it('in SQL itself is text like any other', () => {
		const db = memory();
		assert.deepEqual(db.prepare("SELECT 'é🗝' AS \"名 前\", 'a''b' AS ü").get(), { '名 前': 'é🗝', ü: "a'b" });
		db.exec("CREATE TABLE \"größe 🗝\" (\"ключ\" TEXT DEFAULT '値'); INSERT INTO \"größe 🗝\" DEFAULT VALUES");
		assert.deepEqual(db.prepare('SELECT * FROM "größe 🗝"').all(), [{ ключ: '値' }]);
		assert.deepEqual(db.prepare('SELECT * FROM "größe 🗝"').expand().get(), { 'größe 🗝': { ключ: '値' } });
		assert.equal(db.prepare('SELECT * FROM "größe 🗝"').columns()[0].table, 'größe 🗝');
	});

	it('sorts by code point, not by UTF-16 unit', () => {
		const db = table();
		for (const text of ['\u{1f5dd}', '\uff5e', 'z']) db.prepare('INSERT INTO a (b) VALUES (?)').run(text);
		assert.deepEqual(db.prepare('SELECT b FROM a ORDER BY b').pluck().all(), ['z', '\uff5e', '\u{1f5dd}']);
	});

	it('may come from strings that V8 keeps in pieces', () => {
		let rope = '';
		for (let i = 0; i < 1000; ++i) rope += `${i},`;
		assert.equal(roundTrip(rope).back, rope);
		const whole = 'x'.repeat(100) + 'é'.repeat(100);
		assert.equal(roundTrip(whole.slice(50, 150)).back, whole.slice(50, 150));
	});
});

describe('numbers', () => {
	for (const value of [0, 1, -1, 0.5, -0.5, 1e-300, 5e-324, 1.7976931348623157e308, 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 53, 2 ** 53 - 1, -(2 ** 53), 2 ** 63, -(2 ** 63), 1e100, 0.1 + 0.2, Math.PI, Infinity, -Infinity]) {
		it(`keep ${value}`, () => {
			const { db, back } = roundTrip(value);
			assert.equal(back, value);
			assert.equal(one(db, 'SELECT id FROM a WHERE b = ?', value), 1);
		});
	}

	it('keep minus zero where it is a parameter, and lose its sign in a table', () => {
		assert.ok(Object.is(one(memory(), 'SELECT ?', -0), -0));
		// SQLite stores a REAL that is a whole number as an integer.
		assert.equal(roundTrip(-0).back === 0, true);
	});

	it('turn NaN into NULL', () => {
		assert.equal(roundTrip(NaN).back, null);
		assert.equal(one(memory(), 'SELECT ? IS NULL', NaN), 1);
	});

	it('out of range in SQL become REAL', () => {
		assert.equal(one(memory(), 'SELECT 9223372036854775808'), 9223372036854775808);
		assert.equal(one(memory(), 'SELECT 9e999'), Infinity);
	});

	it('of a column do not depend on the rows before', () => {
		const db = filled(memory(), 2);
		db.prepare('UPDATE entries SET i = ? WHERE i = 2').run(1.5);
		assert.deepEqual(db.prepare('SELECT i FROM entries').pluck().all(), [1, 1.5]);
	});
});

describe('a view whose class has getters of its own', () => {
	it('is bound as what it is, and other parameters stay as they are whatever the getters do', () => {
		const db = memory('CREATE TABLE t(a, b); CREATE TABLE log(x)');
		const log = db.prepare('INSERT INTO log VALUES(?)');
		class View extends Uint8Array {
			get length() {
				log.run(Buffer.from('LOGGED'));
				return super.length;
			}
		}
		db.prepare('INSERT INTO t VALUES(?, ?)').run(Buffer.from('first!'), Buffer.from([1, 2, 3]));
		db.prepare('INSERT INTO t VALUES(?, ?)').run(Buffer.from('first!'), new View([1, 2, 3]));
		assert.deepEqual(db.prepare('SELECT CAST(a AS TEXT) FROM t').pluck().all(), ['first!', 'first!']);
	});
});

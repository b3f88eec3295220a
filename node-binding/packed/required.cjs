'use strict';
// Run in a folder where the packed package is installed, by `cargo xtask test`: require(), an alias, and the option `nativeBinding`.
const assert = require('node:assert/strict');
const path = require('node:path');
const Database = require('kithdb');
const Alias = require('better-sqlite3');

const { optionalDependencies } = require('kithdb/package.json');
const platforms = Object.keys(optionalDependencies);
const nativeBinding = platforms.flatMap((name) => {
	try {
		return [require.resolve(name)];
	} catch {
		return [];
	}
});
assert.equal(nativeBinding.length, 1, 'the package of this platform, and no other, is installed');
assert.ok(path.relative('node_modules', nativeBinding[0]).startsWith('@kithdb'));

const addon = require(nativeBinding[0]);
for (const Class of [Database, Alias]) {
	for (const options of [{}, { nativeBinding: nativeBinding[0] }, { nativeBinding: addon }]) {
		if (Class === Alias && options.nativeBinding === addon) {
			assert.throws(() => new Class(':memory:', options), /used by another copy of kithdb/);
			continue;
		}
		const db = new Class(':memory:', options);
		db.exec('CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT UNIQUE)');
		const insert = db.prepare('INSERT INTO notes VALUES(?, ?)');
		assert.deepEqual(insert.run(7, 'hello'), { changes: 1, lastInsertRowid: 7 });
		assert.deepEqual(db.prepare("SELECT *, x'01' AS data FROM notes").all(), [{ id: 7, body: 'hello', data: Buffer.from([1]) }]);
		assert.throws(() => insert.run(8, 'hello'), Class.SqliteError);
		db.close();
	}
}

const sqlite3 = require('sqlite3');
assert.equal(sqlite3, require('kithdb/sqlite3'));
const db = new sqlite3.Database(':memory:');
db.get('SELECT 1 AS one', (error, row) => {
	assert.deepEqual([error, row], [null, { one: 1 }]);
	db.close();
});

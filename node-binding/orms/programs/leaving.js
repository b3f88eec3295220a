'use strict';
// What docs/switching.md says of leaving: `node leaving.js STEP FILE`, where each step runs on one of the two drivers.

const assert = require('assert/strict');
const Database = require('better-sqlite3');

const [step, file] = process.argv.slice(2);
const db = new Database(file);
const notes = () => db.prepare('SELECT id, body FROM notes ORDER BY id').all();
const WRITTEN = [{ id: 'a', body: 'kept' }, { id: 'b', body: 'changed elsewhere' }, { id: 'd', body: 'new' }];

const steps = {
	'on ours'() {
		db.kith.init({ name: 'laptop' });
		db.exec('CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT UNIQUE); CREATE TABLE plain(n)');
		db.kith.sync('notes');
		db.exec("INSERT INTO notes VALUES ('a', 'kept'), ('b', 'to be changed'), ('c', 'to be deleted'); INSERT INTO plain VALUES (1)");
	},
	'on the original'() {
		assert.equal(db.kith, undefined);
		assert.deepEqual(db.pragma('integrity_check'), [{ integrity_check: 'ok' }]);
		assert.equal(notes().length, 3);
		assert.throws(() => db.exec("INSERT INTO notes VALUES ('x', 'kept')"), { code: 'SQLITE_CONSTRAINT_UNIQUE' });
		db.transaction(() => {
			db.exec("INSERT INTO notes VALUES ('d', 'new'); UPDATE notes SET body = 'changed elsewhere' WHERE id = 'b'; DELETE FROM notes WHERE id = 'c'");
			db.exec('INSERT INTO plain VALUES (2)');
		})();
		db.exec('VACUUM');
		assert.deepEqual(notes(), WRITTEN);
	},
	'on ours again'() {
		assert.deepEqual(notes(), WRITTEN);
		const [table] = db.kith.status().tables;
		assert.deepEqual([table.name, table.state, table.writes_by_others], ['notes', 'synced', 3]);
		assert.equal(db.prepare('SELECT count(*) FROM plain').pluck().get(), 2);
	},
	// For good: the tables stay what they are when everything of KithDB's is dropped.
	'for good'() {
		for (const type of ['trigger', 'table']) {
			const names = db.prepare("SELECT name FROM sqlite_schema WHERE type = ? AND name GLOB 'kith_*'").pluck().all(type);
			for (const name of names) db.exec(`DROP ${type} "${name}"`);
		}
		db.exec('VACUUM');
		assert.deepEqual(db.prepare('SELECT type, name FROM sqlite_schema WHERE sql IS NOT NULL').all(), [
			{ type: 'table', name: 'notes' }, { type: 'table', name: 'plain' },
		]);
		db.exec('ALTER TABLE notes ADD COLUMN later');
		assert.equal(notes().length, 3);
	},
	'plain on ours'() {
		assert.equal(db.kith.isReplica, false);
		assert.equal(notes().length, 3);
	},
};
steps[step]();
db.close();

'use strict';
// Migrations: numbered files, or the like of them, that bring a database's schema up to date and back.

const fs = require('fs/promises');
const path = require('path');

const NAME = /^(\d+).(.*?)\.sql$/;
// What comes after this line takes back what comes before it.
const DOWN = /^--\s+?down\b/im;
const COMMENTS = /^-- .*?$/gm;

/** Reads the migrations of a directory, in the order of their numbers. */
async function readMigrations(directory) {
	const location = path.resolve(directory);
	const found = (await fs.readdir(location)).map((file) => NAME.exec(file)).filter((match) => match !== null);
	if (found.length === 0) throw new Error(`No migration files found in '${location}'.`);
	const migrations = await Promise.all(found.map(async ([filename, id, name]) => {
		const [up, down = ''] = (await fs.readFile(path.join(location, filename), 'utf8')).split(DOWN);
		return { id: Number(id), name, filename, up: up.replace(COMMENTS, '').trim(), down: down.trim() };
	}));
	return migrations.sort((one, other) => one.id - other.id);
}

/** Does something in a transaction, all or nothing. */
async function within(database, act) {
	await database.run('BEGIN');
	try {
		await act();
		await database.run('COMMIT');
	} catch (error) {
		await database.run('ROLLBACK');
		throw error;
	}
}

/** Takes back what is no longer there, and with `force` the latest; then does what was not done yet. */
module.exports = async function migrate(database, { force = false, table = 'migrations', migrationsPath, migrations } = {}) {
	const wanted = migrations ?? await readMigrations(migrationsPath ?? path.join(process.cwd(), 'migrations'));
	await database.run(`CREATE TABLE IF NOT EXISTS "${table}" (
  id   INTEGER PRIMARY KEY,
  name TEXT    NOT NULL,
  up   TEXT    NOT NULL,
  down TEXT    NOT NULL
)`);
	const done = await database.all(`SELECT id, name, up, down FROM "${table}" ORDER BY id`);
	const latest = wanted[wanted.length - 1];
	while (done.length > 0) {
		const { id, down } = done[done.length - 1];
		const isWanted = wanted.some((migration) => migration.id === id);
		if (isWanted && !(force && id === latest.id)) break;
		await within(database, async () => {
			await database.exec(down);
			await database.run(`DELETE FROM "${table}" WHERE id = ?`, id);
		});
		done.pop();
	}
	const reached = done.length > 0 ? done[done.length - 1].id : 0;
	for (const { id, name, up, down } of wanted) {
		if (id <= reached) continue;
		await within(database, async () => {
			await database.exec(up);
			await database.run(`INSERT INTO "${table}" (id, name, up, down) VALUES (?, ?, ?, ?)`, id, name, up, down);
		});
	}
};

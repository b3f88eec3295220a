'use strict';
// Notes with tags on Kysely.

const Database = require('better-sqlite3');
const { Kysely, SqliteDialect, sql, ParseJSONResultsPlugin } = require('kysely');
const { Migrator } = require('kysely/migration');
const { jsonArrayFrom } = require('kysely/helpers/sqlite');

const migrations = {
	'2026-01-notes': {
		async up(db) {
			await db.schema.createTable('notes')
				.addColumn('id', 'text', (column) => column.primaryKey())
				.addColumn('body', 'text', (column) => column.notNull())
				.addColumn('done', 'integer', (column) => column.notNull().defaultTo(0).check(sql`done IN (0, 1)`))
				.addColumn('weight', 'real')
				.execute();
			await db.schema.createTable('tags')
				.addColumn('note_id', 'text', (column) => column.notNull().references('notes.id').onDelete('cascade'))
				.addColumn('name', 'text', (column) => column.notNull())
				.addPrimaryKeyConstraint('tags_key', ['note_id', 'name'])
				.execute();
			await db.schema.createTable('counters')
				.addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
				.addColumn('name', 'text', (column) => column.unique().notNull())
				.addColumn('n', 'integer', (column) => column.notNull().defaultTo(0))
				.execute();
		},
		async down(db) {
			for (const table of ['counters', 'tags', 'notes']) await db.schema.dropTable(table).execute();
		},
	},
	'2026-02-more': {
		async up(db) {
			await db.schema.alterTable('notes').addColumn('image', 'blob').execute();
			await db.schema.createIndex('notes_by_weight').on('notes').columns(['weight desc', 'id']).execute();
			await db.schema.createView('open_notes').as(db.selectFrom('notes').selectAll().where('done', '=', 0)).execute();
		},
		async down(db) {
			await db.schema.dropView('open_notes').execute();
			await db.schema.dropIndex('notes_by_weight').execute();
			await db.schema.alterTable('notes').dropColumn('image').execute();
		},
	},
};
const later = {
	'2026-03-people': {
		up: (db) => db.schema.createTable('people').addColumn('id', 'text', (column) => column.primaryKey()).addColumn('age', 'integer').execute(),
	},
};

module.exports = async function ({ file, say, fails, sync }) {
	const database = new Database(file);
	database.pragma('foreign_keys = ON');
	const db = new Kysely({ dialect: new SqliteDialect({ database }) });
	const migrator = (list) => new Migrator({ db, provider: { getMigrations: async () => list } });

	say('migrated', await migrator(migrations).migrateToLatest());
	say('down', await migrator(migrations).migrateDown());
	say('up', await migrator(migrations).migrateUp());
	say('migrations', (await migrator(migrations).getMigrations()).map(({ name, executedAt }) => [name, executedAt instanceof Date]));
	sync(database);

	const note = (i) => ({ id: `note-${String(i).padStart(3, '0')}`, body: `Body ${i}`, done: i % 2, weight: i % 5 ? i / 4 : null, image: i % 9 ? null : Buffer.from([i]) });
	say('inserted', await db.insertInto('notes').values(note(0)).execute());
	say('inserted many', await db.insertInto('notes').values(Array.from({ length: 99 }, (_, i) => note(i + 1))).executeTakeFirst());
	say('returned', await db.insertInto('notes').values({ id: 'x', body: 'X' }).returningAll().executeTakeFirstOrThrow());
	say('tagged', await db.insertInto('tags').columns(['note_id', 'name'])
		.expression(db.selectFrom('notes').select(['id', sql`'tag' || (rowid % 3)`.as('tag')])).execute());
	say('selected', await db.selectFrom('notes').selectAll().where('weight', '>', 23).where('done', '=', 1).orderBy('weight', 'desc').limit(3).execute());
	say('nothing', await db.selectFrom('notes').selectAll().where('id', '=', 'none').executeTakeFirst());
	say('joined', await db.selectFrom('notes').innerJoin('tags', 'tags.note_id', 'notes.id')
		.select(({ fn }) => ['tags.name', fn.countAll().as('n'), fn.avg('weight').as('mean')]).groupBy('tags.name').orderBy('tags.name').execute());
	say('nested json', await db.withPlugin(new ParseJSONResultsPlugin()).selectFrom('notes').select((e) => ['id', jsonArrayFrom(
		e.selectFrom('tags').select('tags.name').whereRef('tags.note_id', '=', 'notes.id')).as('tags')]).orderBy('id').limit(2).execute());
	say('with', await db.with('heavy', (q) => q.selectFrom('notes').select(['id', 'weight']).where('weight', '>', 24)).selectFrom('heavy').selectAll().execute());
	say('recursive', await db.withRecursive('n(i)', (q) => q.selectNoFrom(sql`1`.as('i')).unionAll(q.selectFrom('n').select(sql`i + 1`.as('i')).where('i', '<', 4))).selectFrom('n').selectAll().execute());
	say('view', await db.selectFrom('open_notes').select(({ fn }) => fn.countAll().as('n')).executeTakeFirst());
	say('updated', await db.updateTable('notes').set({ done: 1 }).where('weight', 'is', null).executeTakeFirst());
	say('updated from', await db.updateTable('notes').from('tags').set({ body: sql`notes.body || ' ' || tags.name` })
		.whereRef('tags.note_id', '=', 'notes.id').where('notes.id', '<', 'note-003').returning(['notes.id', 'body']).execute());
	say('deleted', await db.deleteFrom('notes').where('weight', '>', 20).executeTakeFirst());
	say('cascaded', await db.selectFrom('tags').select(({ fn }) => fn.countAll().as('n')).executeTakeFirst());
	say('replaced', await db.replaceInto('notes').values({ id: 'x', body: 'replaced', done: 1 }).executeTakeFirst());

	const count = () => db.insertInto('counters').values({ name: 'visits', n: 1 })
		.onConflict((conflict) => conflict.column('name').doUpdateSet((e) => ({ n: e('counters.n', '+', e.ref('excluded.n')) }))).returningAll().execute();
	say('upserted', [await count(), await count(), await count()]);
	say('ignored', await db.insertInto('counters').values({ name: 'visits' }).onConflict((conflict) => conflict.doNothing()).executeTakeFirst());
	say('insert or ignore', await db.insertInto('counters').orIgnore().values([{ name: 'visits' }, { name: 'clicks' }]).executeTakeFirst());

	say('transaction', await db.transaction().execute(async (trx) => {
		await trx.insertInto('counters').values({ name: 'kept' }).execute();
		return trx.selectFrom('counters').select('name').orderBy('name').execute();
	}));
	await fails('rolled back', () => db.transaction().execute(async (trx) => {
		await trx.deleteFrom('notes').execute();
		await trx.insertInto('counters').values({ name: 'visits' }).execute();
	}));
	const trx = await db.startTransaction().execute();
	await trx.insertInto('counters').values({ name: 'outer' }).execute();
	const inside = await trx.savepoint('inside').execute();
	await inside.insertInto('counters').values({ name: 'inner' }).execute();
	await inside.deleteFrom('notes').execute();
	await inside.rollbackToSavepoint('inside').execute();
	await inside.insertInto('counters').values({ name: 'after' }).execute();
	await inside.releaseSavepoint('inside').execute();
	await trx.commit().execute();
	say('after transactions', [await db.selectFrom('counters').selectAll().execute(), await db.selectFrom('notes').select(({ fn }) => fn.countAll().as('n')).execute()]);

	await fails('unique', () => db.insertInto('counters').values({ name: 'visits' }).execute());
	await fails('primary key', () => db.insertInto('tags').values([{ note_id: 'x', name: 'a' }, { note_id: 'x', name: 'a' }]).execute());
	await fails('not null', () => db.insertInto('notes').values({ id: 'y' }).execute());
	await fails('check', () => db.updateTable('notes').set({ done: 2 }).execute());
	await fails('foreign key', () => db.insertInto('tags').values({ note_id: 'none', name: 'a' }).execute());
	await fails('no column', () => db.selectFrom('notes').select('nothing').execute());
	await fails('not bound', () => db.updateTable('notes').set({ done: true }).execute());

	const streamed = [];
	for await (const { id, weight } of db.selectFrom('notes').selectAll().where('weight', '>', 3).orderBy('id').stream()) streamed.push([id, weight]);
	say('streamed', streamed);
	// The loop is left early: the connection must be free again.
	for await (const row of db.selectFrom('notes').select('id').orderBy('id').stream(1)) {
		say('streamed first', row);
		break;
	}
	say('after the stream', await db.deleteFrom('counters').where('name', '=', 'clicks').executeTakeFirst());

	// A replica's file has tables of its own beside the application's.
	say('tables', (await db.introspection.getTables()).filter(({ name }) => !name.startsWith('kith_')).map(({ name, isView, columns }) => ({ name, isView, columns })));

	say('migrated later', await migrator({ ...migrations, ...later }).migrateToLatest());
	sync(database);
	say('people', await db.insertInto('people').values({ id: 'ann', age: 30 }).executeTakeFirst());
	await db.destroy();
};

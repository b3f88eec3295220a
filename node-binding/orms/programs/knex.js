'use strict';
// A library of authors and books on Knex.

const knexOf = require('knex');

const migrations = {
	'1-authors': {
		async up(knex) {
			await knex.schema.createTable('authors', (table) => {
				table.increments('id');
				table.string('email').notNullable().unique();
				table.string('name').notNullable();
				table.boolean('living').defaultTo(true);
				table.json('profile');
				table.timestamp('joined_at').defaultTo('2026-01-01 00:00:00');
			});
		},
		down: (knex) => knex.schema.dropTable('authors'),
	},
	'2-books': {
		async up(knex) {
			await knex.schema.createTable('books', (table) => {
				table.string('isbn').primary();
				table.integer('author_id').notNullable().references('id').inTable('authors').onDelete('CASCADE');
				table.string('title').notNullable();
				table.decimal('price', 8, 2).checkPositive();
				table.integer('pages');
				table.binary('cover');
				table.index(['author_id', 'title'], 'books_by_author');
			});
			await knex.schema.alterTable('books', (table) => table.renameColumn('pages', 'page_count'));
			await knex.schema.alterTable('books', (table) => table.string('language').defaultTo('en'));
		},
		down: (knex) => knex.schema.dropTable('books'),
	},
};
const later = {
	'3-loans': {
		up: (knex) => knex.schema.createTable('loans', (table) => {
			table.uuid('id').primary();
			table.string('isbn').references('isbn').inTable('books').onDelete('SET NULL');
			table.dateTime('due_at');
		}),
		down: (knex) => knex.schema.dropTable('loans'),
	},
};

/** Migrations as a list instead of a folder. */
const source = (list) => ({
	getMigrations: async () => Object.keys(list),
	getMigrationName: (name) => name,
	getMigration: async (name) => list[name],
});

const syncConnection = (knex, sync) => knex.client.acquireConnection().then(async (db) => {
	sync(db);
	await knex.client.releaseConnection(db);
});

module.exports = async function ({ file, say, fails, sync }) {
	const knex = knexOf({
		client: 'better-sqlite3',
		connection: { filename: file },
		useNullAsDefault: true,
		pool: { afterCreate: (db, done) => done(db.pragma('foreign_keys = ON') && null, db) },
	});

	const config = { migrationSource: source(migrations) };
	say('migrated', await knex.migrate.latest(config));
	say('rolled back', await knex.migrate.rollback(config, true));
	say('migrated again', await knex.migrate.latest(config));
	say('status', await knex.migrate.list(config).then(([done, open]) => [done.map(({ name }) => name), open]));
	await syncConnection(knex, sync);

	say('inserted', await knex('authors').insert({ email: 'ada@x.org', name: 'Ada', profile: JSON.stringify({ born: 1815 }), living: false }));
	say('returned', await knex('authors').insert([{ email: 'bob@x.org', name: 'Bob' }, { email: 'cy@x.org', name: 'Cy' }], ['id', 'email', 'living']));
	await knex.batchInsert('books', Array.from({ length: 250 }, (_, i) => ({
		isbn: `isbn-${String(i).padStart(3, '0')}`, author_id: 1 + (i % 3), title: `Title ${i}`, price: i + 0.5, page_count: i % 7 ? i : null,
		cover: i % 50 ? null : Buffer.from([i, 0, 255]),
	})), 30);
	say('first', await knex('books').first());
	say('joined', await knex('authors as a').join('books as b', 'b.author_id', 'a.id').where('b.price', '>', 245).select('a.name', 'b.*').orderBy('isbn'));
	say('grouped', await knex('books').select('author_id').count('* as n').avg('price as mean').max('page_count as most').groupBy('author_id').having('n', '>', 10));
	say('window', await knex('books').select('isbn').rank('r', 'price', 'author_id').whereIn('isbn', ['isbn-004', 'isbn-007', 'isbn-010']).orderBy('isbn'));
	say('with', await knex.with('dear', knex('books').select('isbn', 'price').where('price', '>', 247)).select().from('dear').orderBy('isbn'));
	say('pluck', await knex('authors').where({ living: true }).pluck('email'));
	say('json', await knex('authors').jsonExtract('profile', '$.born', 'born').where('id', 1));
	say('updated', await knex('books').where('page_count', null).update({ page_count: 1, language: 'de' }));
	say('updated, returned', await knex('books').where('isbn', 'isbn-003').update({ title: 'Drei' }).returning(['isbn', 'title', 'language']));
	say('incremented', await knex('books').where('isbn', '<', 'isbn-005').increment('page_count', 10));
	say('deleted', await knex('books').where('price', '>', 240).del());
	say('date', await knex('authors').where('id', 2).update({ joined_at: new Date(Date.UTC(2026, 1, 3)) }).then(() => knex('authors').where('id', 2).first()));

	say('merged', await knex('authors').insert({ email: 'ada@x.org', name: 'Ada Lovelace' }).onConflict('email').merge(['name']));
	say('ignored', await knex('authors').insert({ email: 'bob@x.org', name: 'Robert' }).onConflict('email').ignore());
	say('merged where', await knex('authors').insert({ email: 'cy@x.org', name: 'Cyrus' }).onConflict('email').merge().where('authors.id', '>', 100).returning('*'));
	say('authors', await knex('authors').orderBy('id'));

	await knex.transaction(async (trx) => {
		await trx('authors').insert({ email: 'dee@x.org', name: 'Dee' });
		await fails('nested', () => trx.transaction(async (inner) => {
			await inner('authors').insert({ email: 'eve@x.org', name: 'Eve' });
			await inner('books').del();
			throw new Error('undo the inner one');
		}));
		await trx.transaction((inner) => inner('authors').where('email', 'dee@x.org').update({ name: 'Deirdre' }));
	});
	await fails('rolled back', () => knex.transaction(async (trx) => {
		await trx('books').del();
		await trx('authors').insert({ email: 'ada@x.org', name: 'Another' });
	}));
	const trx = await knex.transaction();
	await trx('authors').where('id', 1).del();
	say('cascaded', await trx('books').count('* as n').first());
	await trx.rollback();
	say('after transactions', [await knex('authors').pluck('name'), await knex('books').count('* as n')]);

	await fails('unique', () => knex('authors').insert({ email: 'ada@x.org', name: 'A' }));
	await fails('primary key', () => knex('books').insert({ isbn: 'isbn-001', author_id: 1, title: 'T' }));
	await fails('not null', () => knex('authors').insert({ email: 'zoe@x.org' }));
	await fails('check', () => knex('books').insert({ isbn: 'new', author_id: 1, title: 'T', price: -1 }));
	await fails('foreign key', () => knex('books').insert({ isbn: 'new', author_id: 99, title: 'T' }));
	await fails('no table', () => knex('nothing').select());
	await fails('syntax', () => knex.raw('CHOOSE 1'));

	let pages = 0;
	for await (const book of knex('books').orderBy('isbn').stream()) pages += book.page_count;
	say('streamed', pages);
	say('raw', await knex.raw('SELECT ? AS a, :b: AS b FROM books LIMIT 1'.replace(':b:', '?'), [1, 'two']));

	say('tables', await Promise.all(['authors', 'books', 'loans'].map((table) => knex.schema.hasTable(table))));
	say('columns', [await knex('authors').columnInfo(), await knex('books').columnInfo(), await knex.schema.hasColumn('books', 'language')]);

	say('migrated later', await knex.migrate.latest({ migrationSource: source({ ...migrations, ...later }) }));
	await syncConnection(knex, sync);
	say('loaned', await knex('loans').insert({ id: '0d9ee2ac-0000-4000-8000-000000000001', isbn: 'isbn-002', due_at: new Date(0) }));
	say('set to null', await knex('books').where('isbn', 'isbn-002').del().then(() => knex('loans')));
	say('versions', await knex.migrate.currentVersion());
	await knex.destroy();
};

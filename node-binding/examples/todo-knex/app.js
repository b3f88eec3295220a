'use strict';
// A list of todos on Knex: node app.js FILE add TITLE | done TITLE | list | clear | device

const { randomUUID } = require('crypto');
const knexOf = require('knex');

const [file, command, ...words] = process.argv.slice(2);
const title = words.join(' ');

const migrations = {
	'1-todos': {
		up: (knex) => knex.schema.createTable('todos', (table) => {
			// Devices make ids apart from each other: UUIDs never collide.
			table.uuid('id').primary();
			table.string('title').notNullable().unique();
			table.boolean('done').notNullable().defaultTo(false);
		}),
		down: (knex) => knex.schema.dropTable('todos'),
	},
};
const migrationSource = {
	getMigrations: async () => Object.keys(migrations),
	getMigrationName: (name) => name,
	getMigration: async (name) => migrations[name],
};

/** From here on other devices get what is written: the only lines that better-sqlite3 does not know. */
async function sync(knex) {
	const db = await knex.client.acquireConnection();
	if (!db.kith.isReplica) db.kith.init({ name: 'my-laptop' });
	db.kith.sync('*');
	const { members, tables } = db.kith.status();
	await knex.client.releaseConnection(db);
	const synced = tables.filter(({ state }) => state === 'synced').map(({ name }) => name);
	return { device: members.find((member) => member.is_this_device).device, tables: synced };
}

const commands = {
	async add(knex) {
		const added = await knex('todos').insert({ id: randomUUID(), title }).onConflict('title').ignore().returning('title');
		return added.length ? `added: ${title}` : `already there: ${title}`;
	},
	async done(knex) {
		const count = await knex('todos').where({ title }).update({ done: true });
		return count ? `done: ${title}` : `no such todo: ${title}`;
	},
	async list(knex) {
		const todos = await knex('todos').orderBy('title');
		return todos.map(({ title, done }) => `[${done ? 'x' : ' '}] ${title}`).join('\n') || 'nothing to do';
	},
	async clear(knex) {
		return `cleared ${await knex.transaction((trx) => trx('todos').where({ done: true }).del())}`;
	},
	async device(knex, { device, tables }) {
		return `this device: ${device}; synced: ${tables.join(', ')}`;
	},
};

async function main() {
	if (!file || !Object.hasOwn(commands, command)) throw new Error(`usage: node app.js FILE ${Object.keys(commands).join('|')} [TITLE]`);
	const knex = knexOf({ client: 'better-sqlite3', connection: { filename: file }, useNullAsDefault: true });
	try {
		await knex.migrate.latest({ migrationSource });
		console.log(await commands[command](knex, await sync(knex)));
	} finally {
		await knex.destroy();
	}
}

main().catch((error) => {
	console.error(error.message);
	process.exitCode = 1;
});

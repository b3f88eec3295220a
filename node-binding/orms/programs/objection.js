'use strict';
// Persons, their pets and the films they played in, on Objection.

const knexOf = require('knex');
const { Model, UniqueViolationError, transaction } = require('objection');

class Pet extends Model {
	static tableName = 'pets';
}

class Film extends Model {
	static tableName = 'films';
	static idColumn = 'id';
}

class Person extends Model {
	static tableName = 'persons';
	static jsonAttributes = ['address'];
	static jsonSchema = {
		type: 'object',
		required: ['name'],
		properties: { name: { type: 'string', minLength: 1 }, age: { type: ['integer', 'null'] }, address: { type: 'object' } },
	};
	static relationMappings = {
		pets: { relation: Model.HasManyRelation, modelClass: Pet, join: { from: 'persons.id', to: 'pets.owner_id' } },
		parent: { relation: Model.BelongsToOneRelation, modelClass: Person, join: { from: 'persons.parent_id', to: 'persons.id' } },
		children: { relation: Model.HasManyRelation, modelClass: Person, join: { from: 'persons.id', to: 'persons.parent_id' } },
		films: {
			relation: Model.ManyToManyRelation, modelClass: Film,
			join: { from: 'persons.id', through: { from: 'roles.person_id', to: 'roles.film_id', extra: ['part'] }, to: 'films.id' },
		},
	};
}

const migrations = {
	persons: {
		up: (knex) => knex.schema
			.createTable('persons', (table) => {
				table.increments();
				table.integer('parent_id').unsigned().references('persons.id').onDelete('SET NULL').index();
				table.string('name').notNullable().unique();
				table.integer('age');
				table.json('address');
			})
			.createTable('pets', (table) => {
				table.increments();
				table.integer('owner_id').unsigned().references('persons.id').onDelete('CASCADE');
				table.string('name');
				table.enu('species', ['cat', 'dog']);
			})
			.createTable('films', (table) => {
				table.string('id').primary();
				table.string('title');
			})
			.createTable('roles', (table) => {
				table.integer('person_id').references('persons.id').onDelete('CASCADE');
				table.string('film_id').references('films.id').onDelete('CASCADE');
				table.string('part');
				table.primary(['person_id', 'film_id']);
			}),
		down: (knex) => knex.schema.dropTable('roles').dropTable('films').dropTable('pets').dropTable('persons'),
	},
};

const migrationSource = {
	getMigrations: async () => Object.keys(migrations),
	getMigrationName: (name) => name,
	getMigration: async (name) => migrations[name],
};

module.exports = async function ({ file, say, fails, sync }) {
	const knex = knexOf({
		client: 'better-sqlite3',
		connection: { filename: file },
		useNullAsDefault: true,
		pool: { afterCreate: (db, done) => done(db.pragma('foreign_keys = ON') && null, db) },
	});
	Model.knex(knex);
	say('migrated', await knex.migrate.latest({ migrationSource }));
	say('rolled back', await knex.migrate.rollback({ migrationSource }));
	say('migrated again', await knex.migrate.latest({ migrationSource }));
	const db = await knex.client.acquireConnection();
	sync(db);
	await knex.client.releaseConnection(db);

	say('inserted', await Person.query().insert({ name: 'Jennifer', age: 24, address: { city: 'Oslo', zip: [1, 2] } }));
	say('graph', await Person.query().insertGraph({
		name: 'Sylvester',
		children: [{ name: 'Sage', age: 9, pets: [{ name: 'Fluffy', species: 'dog' }, { name: 'Tom', species: 'cat' }] }, { name: 'Sophia' }],
		films: [{ id: 'rocky', title: 'Rocky', part: 'Rocky' }, { id: 'rambo', title: 'Rambo', part: 'John' }],
	}));
	say('eager', await Person.query().withGraphFetched('[children.pets, films]').where('name', 'Sylvester'));
	say('joined eager', await Person.query().withGraphJoined('pets').whereNotNull('pets.id').orderBy('pets.name'));
	say('patched', await Person.query().patch({ age: 25 }).where('name', 'Jennifer'));
	say('patched and fetched', await Person.query().patchAndFetchById(1, { address: { city: 'Bergen' } }));
	say('related', await Person.relatedQuery('pets').for(Person.query().where('name', 'Sage')).select('name').orderBy('name'));
	say('related inserted', await Person.relatedQuery('pets').for(1).insert({ name: 'Rex', species: 'dog' }));
	say('upserted graph', await Person.query().upsertGraphAndFetch({
		id: 2, name: 'Sly', films: [{ id: 'rocky', title: 'Rocky I' }, { id: 'creed', title: 'Creed', part: 'Rocky' }],
	}, { insertMissing: true }));
	say('page', await Person.query().orderBy('name').page(1, 2));
	say('aggregate', await Pet.query().select('species').count('* as n').groupBy('species').orderBy('species'));
	say('subquery', await Person.query().select('name', Person.relatedQuery('pets').count().as('pets')).orderBy('name'));
	say('merged', await Film.query().insert({ id: 'rocky', title: 'Rocky (1976)' }).onConflict('id').merge());
	say('films', await Film.query().orderBy('id'));
	say('deleted', await Person.query().deleteById(3));
	say('cascaded', await Pet.query());

	await Person.transaction(async (trx) => {
		await Person.query(trx).insert({ name: 'Kept' });
		await fails('nested', () => Person.transaction(trx, async (inner) => {
			await Pet.query(inner).delete();
			await Person.query(inner).insert({ name: 'Kept' });
		}));
		say('inside', await Pet.query(trx).resultSize());
	});
	await fails('rolled back', () => transaction(Person, Pet, async (BoundPerson, BoundPet) => {
		await BoundPet.query().delete();
		await BoundPerson.query().insert({ name: 'Jennifer' });
	}));
	say('after transactions', [await Person.query().orderBy('id'), await Pet.query().resultSize()]);

	await fails('unique', () => Person.query().insert({ name: 'Jennifer' }));
	say('recognised', await Person.query().insert({ name: 'Jennifer' }).catch((error) => {
		const { constructor, table, columns } = error;
		return [error instanceof UniqueViolationError, constructor.name, table, columns];
	}));
	await fails('not null', () => Person.query().insert({ name: null }));
	await fails('not null in SQLite', () => knex('persons').insert({ name: null }));
	await fails('check', () => Pet.query().insert({ name: 'Nemo', species: 'fish' }));
	await fails('foreign key', () => Pet.query().insert({ name: 'Stray', owner_id: 99 }));
	await fails('not found', () => Person.query().findById(99).throwIfNotFound());

	const streamed = [];
	for await (const { name } of Person.query().orderBy('name').toKnexQuery().stream()) streamed.push(name);
	say('streamed', streamed);
	say('table metadata', await Person.fetchTableMetadata());
	await knex.destroy();
};

'use strict';
// A shop on TypeORM: its entities, and migrations written with its query runner.

require('reflect-metadata');
const { DataSource, EntitySchema, In, QueryFailedError, Table, TableColumn, TableForeignKey, TableIndex } = require('typeorm');

const Customer = new EntitySchema({
	name: 'customer',
	columns: {
		id: { type: 'integer', primary: true, generated: 'increment' },
		email: { type: 'varchar', unique: true },
		name: { type: 'varchar' },
		active: { type: 'boolean', default: true },
		settings: { type: 'simple-json', nullable: true },
		born: { type: 'datetime', nullable: true },
		avatar: { type: 'blob', nullable: true },
	},
	relations: { orders: { type: 'one-to-many', target: 'order', inverseSide: 'customer' } },
});
const Order = new EntitySchema({
	name: 'order',
	columns: {
		id: { type: 'varchar', primary: true, generated: false },
		total: { type: 'real', default: 0 },
		note: { type: 'text', nullable: true },
	},
	relations: { customer: { type: 'many-to-one', target: 'customer', inverseSide: 'orders', joinColumn: { name: 'customerId' }, onDelete: 'CASCADE' } },
});

class Customers1700000000001 {
	async up(runner) {
		await runner.createTable(new Table({
			name: 'customer',
			columns: [
				{ name: 'id', type: 'integer', isPrimary: true, isGenerated: true, generationStrategy: 'increment' },
				{ name: 'email', type: 'varchar', isUnique: true },
				{ name: 'name', type: 'varchar' },
				{ name: 'active', type: 'boolean', default: 1 },
				{ name: 'settings', type: 'text', isNullable: true },
				{ name: 'born', type: 'datetime', isNullable: true },
			],
		}));
	}
	async down(runner) {
		await runner.dropTable('customer');
	}
}
class Orders1700000000002 {
	async up(runner) {
		await runner.addColumn('customer', new TableColumn({ name: 'avatar', type: 'blob', isNullable: true }));
		await runner.createTable(new Table({
			name: 'order',
			columns: [
				{ name: 'id', type: 'varchar', isPrimary: true },
				{ name: 'total', type: 'real', default: 0 },
				{ name: 'note', type: 'text', isNullable: true },
				{ name: 'customerId', type: 'integer', isNullable: true },
			],
			checks: [{ expression: '"total" >= 0' }],
		}));
		await runner.createForeignKey('order', new TableForeignKey({
			columnNames: ['customerId'], referencedTableName: 'customer', referencedColumnNames: ['id'], onDelete: 'CASCADE',
		}));
		await runner.createIndex('order', new TableIndex({ name: 'order_by_total', columnNames: ['total'] }));
	}
	async down(runner) {
		await runner.dropTable('order');
		await runner.dropColumn('customer', 'avatar');
	}
}
class Later1700000000003 {
	async up(runner) {
		await runner.query('CREATE TABLE "coupon" ("code" varchar PRIMARY KEY NOT NULL, "percent" integer NOT NULL)');
	}
	async down(runner) {
		await runner.dropTable('coupon');
	}
}

module.exports = async function ({ file, say, fails, found, sync }) {
	// The mapper keeps prepared statements from its first query on.
	const options = { type: 'better-sqlite3', database: file, prepareDatabase: found, entities: [Customer, Order] };
	const source = await new DataSource({ ...options, migrations: [Customers1700000000001, Orders1700000000002] }).initialize();
	const names = (list) => list.map(({ name }) => name);
	say('migrated', names(await source.runMigrations()));
	await source.undoLastMigration();
	say('pending', await source.showMigrations());
	say('migrated again', names(await source.runMigrations()));
	sync(source.driver.databaseConnection);

	const customers = source.getRepository('customer');
	const orders = source.getRepository('order');
	say('saved', await customers.save({ email: 'ada@x.org', name: 'Ada', settings: { theme: 'dark', sizes: [1, 2] }, born: new Date(Date.UTC(1815, 11, 10)), avatar: Buffer.from([1, 0, 255]) }));
	say('saved many', await customers.save([{ email: 'bob@x.org', name: 'Bob', active: false }, { email: 'cy@x.org', name: 'Cy' }]));
	say('inserted', await orders.insert(Array.from({ length: 60 }, (_, i) => ({ id: `o${100 + i}`, total: i * 1.5, note: i % 4 ? null : `note ${i}`, customer: { id: 1 + (i % 3) } }))));
	say('found', await customers.find({ order: { id: 'ASC' } }));
	say('with orders', await customers.findOne({ where: { email: 'bob@x.org' }, relations: { orders: true }, order: { orders: { id: 'ASC' } } }));
	say('in', await orders.findBy({ id: In(['o100', 'o159', 'none']) }));
	say('counted', [await orders.count(), await orders.sum('total'), await orders.maximum('total'), await customers.existsBy({ name: 'Cy' })]);
	say('built', await source.createQueryBuilder('customer', 'c').leftJoin('c.orders', 'o').select('c.name', 'name').addSelect('COUNT(o.id)', 'n')
		.addSelect('SUM(o.total)', 'total').groupBy('c.id').having('n > :n', { n: 1 }).orderBy('total', 'DESC').getRawMany());
	say('paged', await orders.createQueryBuilder('o').innerJoinAndSelect('o.customer', 'c').where('o.total > :least', { least: 20 }).orderBy('o.id').skip(2).take(2).getManyAndCount());
	const ada = await customers.findOneByOrFail({ email: 'ada@x.org' });
	ada.name = 'Ada Lovelace';
	ada.settings.theme = 'light';
	await customers.save(ada);
	say('changed', await customers.findOneBy({ id: ada.id }));
	say('updated', await orders.update({ note: 'note 4' }, { total: 1000 }));
	say('incremented', await orders.increment({ id: 'o100' }, 'total', 5).then(() => orders.findOneBy({ id: 'o100' })));
	say('deleted', await orders.delete({ id: In(['o101', 'o102']) }));
	say('removed', await orders.remove(await orders.findBy({ id: 'o103' })));

	say('upserted', await customers.upsert([{ email: 'ada@x.org', name: 'Ada!' }, { email: 'dee@x.org', name: 'Dee' }], ['email']));
	say('or ignored', await source.createQueryBuilder().insert().into('customer').values({ email: 'bob@x.org', name: 'Robert' }).orIgnore().execute());
	say('or updated', await source.createQueryBuilder().insert().into('customer').values({ email: 'cy@x.org', name: 'Cyrus' }).orUpdate(['name'], ['email']).execute());
	say('customers', await customers.find({ select: { id: true, name: true, active: true }, order: { id: 'ASC' } }));

	await source.transaction(async (manager) => {
		await manager.insert('customer', { email: 'eve@x.org', name: 'Eve' });
		await fails('nested', () => manager.transaction(async (inner) => {
			await inner.createQueryBuilder().delete().from('order').execute();
			await inner.insert('customer', { email: 'eve@x.org', name: 'Eve' });
		}));
		await manager.transaction((inner) => inner.update('customer', { email: 'eve@x.org' }, { name: 'Evelyn' }));
		say('inside', await manager.count('order'));
	});
	await fails('rolled back', () => source.transaction('SERIALIZABLE', async (manager) => {
		await manager.delete('customer', { id: 1 });
		say('cascaded', await manager.count('order'));
		throw new Error('undone');
	}));
	const runner = source.createQueryRunner();
	await runner.startTransaction();
	await runner.manager.insert('customer', { email: 'fay@x.org', name: 'Fay' });
	await runner.startTransaction();
	await runner.manager.insert('customer', { email: 'gus@x.org', name: 'Gus' });
	await runner.rollbackTransaction();
	await runner.commitTransaction();
	await runner.release();
	say('after transactions', [(await customers.find({ order: { id: 'ASC' } })).map(({ name }) => name), await orders.count()]);

	await fails('unique', () => customers.insert({ email: 'ada@x.org', name: 'A' }));
	say('recognised', await customers.insert({ email: 'ada@x.org', name: 'A' }).catch((error) => [error instanceof QueryFailedError, error.code, error.driverError.code]));
	await fails('primary key', () => orders.insert({ id: 'o100' }));
	await fails('not null', () => source.query('INSERT INTO customer(email) VALUES (?)', ['zoe@x.org']));
	await fails('check', () => orders.insert({ id: 'new', total: -1 }));
	await fails('foreign key', () => orders.insert({ id: 'new', customer: { id: 99 } }));
	await fails('no table', () => source.query('SELECT * FROM nothing'));
	await fails('not found', () => customers.findOneByOrFail({ id: 99 }));

	say('raw', await source.query('SELECT id, total FROM "order" WHERE total > ? ORDER BY id LIMIT ?', [10, 2]));
	const inspector = source.createQueryRunner();
	say('tables', (await inspector.getTables(['customer', 'order'])).map(({ name, columns, indices, uniques, foreignKeys, checks }) => ({
		name, indices: names(indices), uniques: names(uniques), foreignKeys: names(foreignKeys), checks: checks.map(({ expression }) => expression),
		columns: columns.map(({ name, type, isNullable, isPrimary, isGenerated, isUnique, default: value }) => ({ name, type, isNullable, isPrimary, isGenerated, isUnique, value })),
	})));
	say('has', [await inspector.hasTable('customer'), await inspector.hasTable('coupon'), await inspector.hasColumn('order', 'note')]);
	await inspector.release();
	await source.destroy();

	const again = await new DataSource({ ...options, migrations: [Customers1700000000001, Orders1700000000002, Later1700000000003] }).initialize();
	say('migrated later', names(await again.runMigrations()));
	sync(again.driver.databaseConnection);
	say('coupon', await again.query('INSERT INTO coupon VALUES (?, ?) RETURNING *', ['half', 50]));
	await again.destroy();
};

'use strict';
// A club on Sequelize, whose driver is sqlite3: migrations by its query interface, models, managed and unmanaged transactions.

const { DataTypes, Op, QueryTypes, Sequelize, UniqueConstraintError, ForeignKeyConstraintError } = require('sequelize');

const migrations = [
	async (queries) => {
		await queries.createTable('members', {
			id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
			email: { type: DataTypes.STRING, allowNull: false, unique: true },
			name: { type: DataTypes.STRING, allowNull: false },
			active: { type: DataTypes.BOOLEAN, defaultValue: true },
			profile: DataTypes.JSON,
			joined: DataTypes.DATE,
		});
	},
	async (queries) => {
		await queries.createTable('loans', {
			id: { type: DataTypes.UUID, primaryKey: true },
			memberId: { type: DataTypes.INTEGER, references: { model: 'members', key: 'id' }, onDelete: 'CASCADE' },
			title: { type: DataTypes.STRING, allowNull: false },
			fee: DataTypes.REAL,
		});
		await queries.addColumn('loans', 'scan', { type: DataTypes.BLOB });
		await queries.renameColumn('loans', 'title', 'book');
		await queries.addIndex('loans', ['memberId', 'book'], { name: 'loans_by_member' });
	},
];

/** What may differ from run to run is left out. */
const plain = (found) => JSON.parse(JSON.stringify(found));

module.exports = async function ({ file, say, fails, foundFile, syncBySql }) {
	foundFile();
	const sequelize = new Sequelize({ dialect: 'sqlite', storage: file, logging: false });
	const queries = sequelize.getQueryInterface();
	for (const migrate of migrations) await migrate(queries);
	await queries.dropTable('loans');
	await migrations[1](queries);
	await syncBySql((sql) => sequelize.query(sql, { type: QueryTypes.SELECT }).then(([{ value }]) => value));

	const Member = sequelize.define('Member', {
		email: { type: DataTypes.STRING, allowNull: false, unique: true }, name: { type: DataTypes.STRING, allowNull: false },
		active: { type: DataTypes.BOOLEAN, defaultValue: true }, profile: DataTypes.JSON, joined: DataTypes.DATE,
	}, { tableName: 'members', timestamps: false });
	const Loan = sequelize.define('Loan', {
		id: { type: DataTypes.UUID, primaryKey: true }, book: DataTypes.STRING, fee: DataTypes.REAL, scan: DataTypes.BLOB,
	}, { tableName: 'loans', timestamps: false });
	Member.hasMany(Loan, { foreignKey: 'memberId', as: 'loans' });
	Loan.belongsTo(Member, { foreignKey: 'memberId', as: 'member' });
	const uuid = (i) => `0d9ee2ac-0000-4000-8000-${String(i).padStart(12, '0')}`;

	say('created', plain(await Member.create({ email: 'ada@x.org', name: 'Ada', profile: { born: 1815 }, joined: new Date(Date.UTC(2026, 0, 2)) })));
	say('created many', plain(await Member.bulkCreate([{ email: 'bob@x.org', name: 'Bob', active: false }, { email: 'cy@x.org', name: 'Cy' }])));
	await Loan.bulkCreate(Array.from({ length: 60 }, (_, i) => ({
		id: uuid(i), memberId: 1 + (i % 3), book: `Book ${i % 10}`, fee: i % 4 ? i / 4 : null, scan: i % 20 ? null : Buffer.from([i, 0, 255]),
	})));
	say('scan', (await Loan.findByPk(uuid(20))).scan);
	say('found', plain(await Member.findAll({ order: ['id'], include: { model: Loan, as: 'loans', where: { fee: { [Op.gt]: 13 } }, required: false } })));
	say('counted', [await Loan.count(), await Loan.sum('fee'), await Loan.max('book'), await Member.findAndCountAll({ where: { active: true }, limit: 1, order: ['id'] }).then(({ count, rows }) => [count, plain(rows)])]);
	say('grouped', plain(await Loan.findAll({ attributes: ['memberId', [sequelize.fn('COUNT', '*'), 'n'], [sequelize.fn('AVG', sequelize.col('fee')), 'mean']], group: 'memberId', order: ['memberId'] })));
	say('json', plain(await Member.findAll({ where: { 'profile.born': 1815 } })));
	say('updated', [await Loan.update({ fee: 1 }, { where: { fee: null } }), await Loan.increment('fee', { by: 2, where: { book: 'Book 3' } }).then(() => Loan.sum('fee'))]);
	const ada = await Member.findOne({ where: { email: 'ada@x.org' } });
	await ada.update({ name: 'Ada Lovelace', profile: { ...ada.profile, died: 1852 } });
	say('saved', plain(await ada.reload()));
	say('deleted', [await Loan.destroy({ where: { book: 'Book 9' } }), await Loan.count()]);
	say('upserted', (await Member.upsert({ email: 'ada@x.org', name: 'Ada!' })).length);
	say('found or created', await Member.findOrCreate({ where: { email: 'dee@x.org' }, defaults: { name: 'Dee' } }).then(([member, isNew]) => [member.name, isNew]));
	await Member.bulkCreate([{ email: 'bob@x.org', name: 'Robert' }, { email: 'eve@x.org', name: 'Eve' }], { updateOnDuplicate: ['name'] });
	await Member.bulkCreate([{ email: 'bob@x.org', name: 'Ignored' }], { ignoreDuplicates: true });
	say('members', plain(await Member.findAll({ order: ['email'], attributes: ['email', 'name', 'active'] })));

	await sequelize.transaction(async (transaction) => {
		await Member.create({ email: 'fay@x.org', name: 'Fay' }, { transaction });
		await fails('nested', () => sequelize.transaction({ transaction }, async (inner) => {
			await Loan.destroy({ where: {}, transaction: inner });
			await Member.create({ email: 'fay@x.org', name: 'Fay' }, { transaction: inner });
		}));
		say('inside', await Loan.count({ transaction }));
	});
	await fails('rolled back', () => sequelize.transaction(async (transaction) => {
		await Member.destroy({ where: { email: 'ada@x.org' }, transaction });
		say('cascaded', await Loan.count({ transaction }));
		throw new Error('undone');
	}));
	const transaction = await sequelize.transaction();
	await Member.create({ email: 'gus@x.org', name: 'Gus' }, { transaction });
	await transaction.rollback();
	say('after transactions', [plain(await Member.findAll({ attributes: ['name'], order: ['email'] })), await Loan.count()]);

	await fails('unique', () => Member.create({ email: 'ada@x.org', name: 'A' }));
	say('recognised', await Member.create({ email: 'ada@x.org', name: 'A' }).catch((error) => [error instanceof UniqueConstraintError, error.fields, error.parent.code, error.parent.errno]));
	await fails('primary key', () => queries.bulkInsert('loans', [{ id: uuid(1), book: 'B' }]));
	await fails('not null', () => sequelize.query("INSERT INTO members(email) VALUES ('zoe@x.org')"));
	say('foreign key', await Loan.create({ id: uuid(99), book: 'B', memberId: 99 }).catch((error) => [error instanceof ForeignKeyConstraintError, error.parent.message]));
	await fails('no table', () => sequelize.query('SELECT * FROM nothing'));

	say('raw', await sequelize.query('SELECT book, fee FROM loans WHERE fee > $1 ORDER BY fee, id LIMIT 3', { bind: [10], type: QueryTypes.SELECT }));
	say('tables', (await queries.showAllTables()).filter((name) => !name.startsWith('kith_')).sort());
	say('columns', [await queries.describeTable('members'), await queries.describeTable('loans')]);
	say('indexes', (await queries.showIndex('loans')).map(({ name, unique, fields }) => [name, unique, fields.map(({ attribute }) => attribute)]));
	say('references', await queries.getForeignKeyReferencesForTable('loans'));

	await queries.createTable('fines', { id: { type: DataTypes.UUID, primaryKey: true }, cents: DataTypes.INTEGER });
	await syncBySql((sql) => sequelize.query(sql, { type: QueryTypes.SELECT }).then(([{ value }]) => value));
	await queries.bulkInsert('fines', [{ id: uuid(1), cents: 50 }]);
	say('fines', await sequelize.query('SELECT * FROM fines', { type: QueryTypes.SELECT }));
	await sequelize.close();
};

'use strict';
// db.serialize(): a database as the bytes of its file.

const { innerOf } = require('../inner');
const { attachedName } = require('../check');

module.exports = function serialize(options) {
	options ??= {};
	const { addon, handle } = innerOf(this);
	if (typeof options !== 'object') throw new TypeError('Expected first argument to be an options object');
	return addon.serialize(handle, attachedName(options));
};

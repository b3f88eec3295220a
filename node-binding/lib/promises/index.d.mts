// The same for `import`.
import promises = require('./index.js');

export default promises;
export * from './index.js';

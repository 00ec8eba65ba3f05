import { temporaryFolder } from '../support/temporary-folder.ts';
import { checkModel } from './model-property.ts';

describe('LocalStore and a naive model of it', () => {
  it('law: whatever happens in whatever order, promises are kept, reads are whole, and the limit holds', async () => {
    await checkModel(60, temporaryFolder);
  });
});

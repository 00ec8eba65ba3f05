import { RecordMark } from '../../src/cas/segment/log/format.ts';

/** What records of tests begin with that are written without a store. */
export const TEST_MARK = new RecordMark(Buffer.from('GRECseed'));

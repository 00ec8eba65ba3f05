/** What was typed is wrong, flags, configuration or arguments: exit code 2. The message says what is expected. */
export class UsageError extends Error {}

/** At most `maxLength` characters of a text from outside, and `…` if it was longer. The long text is not kept alive. */
export function cutText(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text;
  // A slice alone would be a view that holds on to all of it.
  return `${Buffer.from(text.slice(0, maxLength)).toString()}…`;
}

export const revalidate = 3
export default async function Page() {
  // While it is built there is no API; later it is rendered again only while the API answers.
  if (process.env.API_URL) await fetch(`${process.env.API_URL}/health`, { cache: 'no-store', signal: AbortSignal.timeout(1000) })
  return <p id="isr">rendered-at {Date.now()}</p>
}

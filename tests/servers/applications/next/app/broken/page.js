import { Suspense } from 'react'
export const dynamic = 'force-dynamic'
async function Products() {
  await new Promise((resolve) => setTimeout(resolve, 50))
  throw new Error('the API does not answer')
}
export default function Page() {
  return <main><h1>Products</h1><p>rendered-for-request {Date.now()}</p><Suspense fallback={<p>loading</p>}><Products /></Suspense></main>
}

import { Suspense } from 'react'
import { notFound, redirect } from 'next/navigation'
export const dynamic = 'force-dynamic'
async function Late({ kind }) {
  await new Promise((resolve) => setTimeout(resolve, 50))
  if (kind === 'redirect') redirect('/login')
  notFound()
}
export default async function Page({ searchParams }) {
  const { kind } = await searchParams
  return <main><h1>Product</h1><Suspense fallback={<p>loading</p>}><Late kind={kind} /></Suspense></main>
}

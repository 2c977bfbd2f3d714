package cbpnet.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class RandomStreamTest {
    /** What `cbpnet.host.random_streams.random_stream(3, 7)` gives torch.randperm and torch.rand. */
    @Test
    fun theNumbersAreThePythonHosts() {
        val random = RandomStream(3, 7)
        assertEquals(listOf(7, 3, 0, 4, 10, 5, 1, 8, 6, 9, 2, 11, 12), random.permutation(13).toList())
        val first = floatArrayOf(0.1171751618385315f, 0.569405198097229f, 0.7850375175476074f)
        assertArrayEquals(first, random.uniform(3), 0f)
        random.uniform(700) // more than are made at a time
        assertEquals(listOf(3, 2, 1, 4, 0), random.permutation(5).toList())
        assertArrayEquals(floatArrayOf(0.6203134059906006f, 0.13457393646240234f), random.uniform(2), 0f)
    }

    @Test
    fun everySeedAndPurposeHasItsOwn() {
        fun drawn(seed: Int, purpose: Int) =
            RandomStream(seed, purpose).run { permutation(20).toList() to uniform(5).toList() }
        assertEquals(drawn(3, 1), drawn(3, 1))
        assertEquals(4, listOf(drawn(0, 0), drawn(0, 1), drawn(1, 0), drawn(3, 1)).toSet().size)
    }

    @Test
    fun uniformNumbersAreInRangeAndSpread() {
        val numbers = RandomStream(0, 0).uniform(100_000)
        assertTrue(numbers.all { it >= 0f && it < 1f })
        val tenths = numbers.toList().groupingBy { (it * 10).toInt() }.eachCount()
        assertTrue(tenths.toString(), tenths.size == 10 && tenths.values.all { it in 9_500..10_500 })
    }

    @Test
    fun everyOrderIsEquallyLikely() {
        val random = RandomStream(1, 0)
        val orders = List(60_000) { random.permutation(3).toList() }.groupingBy { it }.eachCount()
        assertTrue(orders.toString(), orders.size == 6 && orders.values.all { it in 9_500..10_500 })
        assertNotEquals(List(50) { it }, random.permutation(50).toList())
        assertEquals(List(50) { it }, random.permutation(50).sorted())
        assertEquals(0, random.permutation(0).size)
    }
}

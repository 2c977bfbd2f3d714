package cbpnet.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class RandomNumbersTest {
    @Test
    fun theSameSeedAndTaskGiveTheSame() {
        fun drawn(seed: Int, task: Int) =
            SeededNumbers(seed, task).run { permutation(20).toList() to uniform(5).toList() }
        assertEquals(drawn(3, 1), drawn(3, 1))
        assertEquals(4, listOf(drawn(0, 0), drawn(0, 1), drawn(1, 0), drawn(3, 1)).toSet().size)
    }

    @Test
    fun uniformNumbersAreInRangeAndSpread() {
        val numbers = SeededNumbers(0, 0).uniform(100_000)
        assertTrue(numbers.all { it >= 0f && it < 1f })
        val tenths = numbers.toList().groupingBy { (it * 10).toInt() }.eachCount()
        assertTrue(tenths.toString(), tenths.size == 10 && tenths.values.all { it in 9_500..10_500 })
    }

    @Test
    fun everyOrderIsEquallyLikely() {
        val random = SeededNumbers(1, 0)
        val orders = List(60_000) { random.permutation(3).toList() }.groupingBy { it }.eachCount()
        assertTrue(orders.toString(), orders.size == 6 && orders.values.all { it in 9_500..10_500 })
        assertNotEquals(List(50) { it }, random.permutation(50).toList())
        assertEquals(List(50) { it }, random.permutation(50).sorted())
        assertEquals(0, random.permutation(0).size)
    }
}

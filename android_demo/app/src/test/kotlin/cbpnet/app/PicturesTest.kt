package cbpnet.app

import org.junit.Assert.assertEquals
import org.junit.Test

class PicturesTest {
    @Test
    fun aLargePhotographIsHalvedUntilItHasFourMillionPixels() {
        assertEquals(1, halvings(640, 480))
        assertEquals(1, halvings(2000, 2000))
        assertEquals(2, halvings(2001, 2000))
        assertEquals(2, halvings(4000, 3000))
        assertEquals(4, halvings(8160, 6120))
    }

    @Test
    fun whatHasNoSizeIsNotHalved() = assertEquals(1, halvings(-1, -1))
}

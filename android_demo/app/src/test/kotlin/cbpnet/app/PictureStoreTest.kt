package cbpnet.app

import cbpnet.core.StorageException
import java.io.File
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class PictureStoreTest {
    @get:Rule val temporary = TemporaryFolder()
    private val store by lazy { PictureStore(File(temporary.root, "pictures")) }

    private fun add(label: String, vararg pictures: Int) = pictures.forEach { store.add(label, byteArrayOf(it.toByte())) }

    private fun waiting(label: String) = store.waiting(label).map { it.readBytes().single().toInt() }

    @Test
    fun picturesWaitInTheirOrderAndOutliveTheStore() {
        add("cup", 1, 2)
        add("a/b: \u00e9\u4e2d", 3)
        assertEquals(setOf("cup", "a/b: \u00e9\u4e2d"), store.labels().toSet())
        val reopened = PictureStore(File(temporary.root, "pictures"))
        assertEquals(store.labels(), reopened.labels())
        assertEquals(listOf(1, 2), reopened.waiting("cup").map { it.readBytes().single().toInt() })
    }

    @Test
    fun aDeletedPictureIsNotReplacedByTheNextOne() {
        add("cup", 1, 2, 3)
        store.waiting("cup")[1].delete()
        add("cup", 4)
        assertEquals(listOf(1, 3, 4), waiting("cup"))
    }

    @Test
    fun aClassWithoutPicturesIsNotListed() {
        add("cup", 1)
        store.waiting("cup").single().delete()
        assertEquals(emptyList<String>(), store.labels())
    }

    @Test
    fun ofALearntClassOnePictureStays() {
        add("cup", 1, 2)
        store.learnt(listOf("cup"))
        assertEquals(emptyList<String>(), store.labels())
        add("cup", 7)
        store.learnt(listOf("cup"))
        assertArrayEquals(byteArrayOf(1), store.thumbnail("cup")?.readBytes())
    }

    @Test
    fun aNewNameTakesThePicturesAlong() {
        add("cup", 1, 2)
        store.learnt(listOf("cup"))
        add("cup", 3)
        store.rename("cup", "mug")
        assertNull(store.thumbnail("cup"))
        assertArrayEquals(byteArrayOf(1), store.thumbnail("mug")?.readBytes())
        assertEquals(listOf("mug"), store.labels())
        assertEquals(listOf(3), waiting("mug"))
    }

    @Test
    fun nothingStaysOfAForgottenClass() {
        add("cup", 1, 2)
        store.learnt(listOf("cup"))
        add("cup", 3)
        store.forget("cup")
        assertNull(store.thumbnail("cup"))
        assertEquals(emptyList<File>(), store.waiting("cup"))
    }

    @Test
    fun aPictureThatCannotBeKeptIsAStorageExceptionWithASentence() {
        File(temporary.root, "pictures").writeText("a file where the folder should be")
        val error = assertThrows(StorageException::class.java) { add("cup", 1) }
        assertTrue(error.message.orEmpty(), error.message.orEmpty().startsWith("The picture could not be kept"))
    }
}

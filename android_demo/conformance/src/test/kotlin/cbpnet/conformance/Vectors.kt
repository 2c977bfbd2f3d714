package cbpnet.conformance

import cbpnet.core.JsonNull
import cbpnet.core.JsonObject
import cbpnet.core.Picture
import cbpnet.core.RgbImage
import cbpnet.core.Safetensors
import cbpnet.core.child
import cbpnet.core.children
import cbpnet.core.exifOrientation
import cbpnet.core.get
import cbpnet.core.integer
import cbpnet.core.parseJson
import cbpnet.core.texts
import java.io.File
import javax.imageio.ImageIO

/** The folder that write_vectors.py wrote. */
internal val vectors: File
    get() = File(System.getProperty("cbpnet.vectors") ?: error("run with -Dcbpnet.vectors=FOLDER"))

internal fun readJson(file: File): JsonObject = parseJson(file.readText())

internal fun readTensors(file: File): Safetensors = Safetensors.parse(file.readBytes())

/** An image file, decoded by Java's decoder, which gives a PNG's pixels as they are. */
internal class PictureFile(private val file: File) : Picture {
    override val name: String get() = file.name

    override fun decode(): RgbImage {
        val image = ImageIO.read(file)
        val argb = image.getRGB(0, 0, image.width, image.height, null, 0, image.width)
        return RgbImage.fromArgb(image.width, image.height, argb).upright(exifOrientation(file.readBytes()))
    }
}

/** What the Python host was taught in a lesson, what it decided, and what it said afterwards. */
internal class RecordedLesson(json: JsonObject, folder: File) {
    val pictures: Map<String, List<Picture>> = json.child("pictures").run {
        entries.keys.associateWith { label -> texts(label).map { PictureFile(File(folder, it)) } }
    }
    val joinedTask: Int? = if (json["joined_task"] == JsonNull) null else json.integer("joined_task")
    val steps: Int = json.integer("steps")
    val decision: JsonObject? = json["decision"] as? JsonObject
    val predictions: List<JsonObject> = json.children("predictions")
}
